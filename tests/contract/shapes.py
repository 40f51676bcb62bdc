"""Workflows that are put together from parts, where a class body would be one of many alike."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, cast

from flask_squidmesh import Workflow, complete, manual


def make(name: str, body: Mapping[str, Any]) -> type[Workflow]:
    """Return the workflow of this class body, with a manual trigger."""
    whole = {"go": manual(), **body}
    return cast(
        "type[Workflow]", types.new_class(name, (Workflow,), {}, lambda space: space.update(whole))
    )


def road(name: str, steps: Mapping[str, Any]) -> type[Workflow]:
    """Return the workflow that takes these steps in their order."""
    chain: Any = None
    for each in steps.values():
        chain = each if chain is None else chain >> each
    return make(name, {**steps, "transitions": [chain >> complete]})

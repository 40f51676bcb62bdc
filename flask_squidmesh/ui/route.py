"""What a route of the dashboard is: where it stands, which actions it needs, who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response

from flask_squidmesh.current import Actor
from flask_squidmesh.types import Run
from flask_squidmesh.ui.access import Visitor


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was granted: to whom, about which run, when, with which parts of the path.

    `key` is the idempotency key of the form that was sent.
    """

    visitor: Visitor
    actor: Actor
    run: Run | None
    arguments: Mapping[str, Any]
    now: datetime
    key: str | None = None

    def require_run(self) -> Run:
        """Return the run that a route with `<run_id>` is about."""
        if self.run is None:
            raise RuntimeError("this route is about no run")
        return self.run


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table of routes; `post` makes the change that `get` has announced.

    `to_see` is the action that a GET needs, `to_do` the one that a POST needs.
    """

    rule: str
    name: str
    to_see: str
    get: Callable[[Call], Response]
    to_do: str | None = None
    post: Callable[[Call], Response] | None = None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods that are answered."""
        return ("GET", "HEAD") if self.post is None else ("GET", "HEAD", "POST")

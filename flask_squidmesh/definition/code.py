"""The code side of a workflow: what a stored definition can not hold.

Everything is looked up by step or trigger name, so a run that follows an older
definition finds today's function, or finds that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema

from flask_squidmesh.definition.inputs import Parameters
from flask_squidmesh.definition.spec import Definition


@dataclass(frozen=True)
class WorkflowCode:
    """Functions and schema instances of one workflow class, made once with it.

    `functions` and `parameters` have the steps that run a function, the schemas
    those that declare one, `payload_schemas` every trigger.
    """

    definition: Definition
    description: str | None
    functions: Mapping[str, Callable[..., Any]]
    parameters: Mapping[str, Parameters]
    input_schemas: Mapping[str, Schema]
    output_schemas: Mapping[str, Schema]
    payload_schemas: Mapping[str, Schema]

"""A workflow class as it was written, before anybody knows whether it makes sense.

The draft resolves references once, to names where they can be resolved, and
makes the schemas and signatures; the rules of `check` and the building of the
definition both read it. Nothing here raises for what the user wrote.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from marshmallow import Schema
from marshmallow.fields import Field

from flask_squidmesh.definition.declarations import (
    Chain,
    Complete,
    Declaration,
    Link,
    Step,
    Trigger,
)
from flask_squidmesh.definition.inputs import Parameters, parameters_of
from flask_squidmesh.definition.spec import COMPLETE

_WORD_ENDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for something that could not be made, with the reason."""

    reason: str


@dataclass(frozen=True)
class Draft:
    """What the body of a workflow class says.

    `declared` holds the declarations by name, in order; `aliases` maps the
    identity of every declaration, overridden ones of parent classes included,
    to the names it is bound to. `rebound` are names bound twice in the body,
    `misused` reserved names bound to something that is no declaration.
    """

    class_name: str
    description: str | None
    name: object
    version: object
    written_transitions: object
    declared: Mapping[str, Declaration]
    aliases: Mapping[int, Sequence[str]]
    rebound: Sequence[str]
    misused: Sequence[str]

    @cached_property
    def triggers(self) -> Mapping[str, Trigger]:
        return {n: d for n, d in self.declared.items() if isinstance(d, Trigger)}

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        return {n: d for n, d in self.declared.items() if isinstance(d, Step)}

    @cached_property
    def links(self) -> Sequence[Link]:
        written = self.written_transitions
        chains = written if isinstance(written, (list, tuple)) else ()
        return [link for chain in chains if isinstance(chain, Chain) for link in chain.links]

    @cached_property
    def payload_schemas(self) -> Mapping[str, Schema | Broken]:
        return {name: _payload_schema(name, t) for name, t in self.triggers.items()}

    @cached_property
    def input_schemas(self) -> Mapping[str, Schema | Broken]:
        return _schemas({name: step.input_schema for name, step in self.steps.items()})

    @cached_property
    def output_schemas(self) -> Mapping[str, Schema | Broken]:
        return _schemas({name: step.output_schema for name, step in self.steps.items()})

    @cached_property
    def parameters(self) -> Mapping[str, Parameters | Broken]:
        return {n: _parameters(s.function) for n, s in self.steps.items() if s.kind == "step"}

    @property
    def is_dependency(self) -> bool:
        """Whether any step waits for others; then there are no transitions."""
        return any(step.after is not None for step in self.steps.values())

    def step_name(self, reference: object) -> str | None:
        """Return the name of the step *reference* stands for in this class, or None."""
        names = self.aliases.get(id(reference), ()) if isinstance(reference, Step) else ()
        return next((name for name in names if name in self.steps), None)

    def target_name(self, reference: object) -> str | None:
        """Return the same, with `COMPLETE` for the end of the run."""
        return COMPLETE if isinstance(reference, Complete) else self.step_name(reference)

    def dependencies(self, name: str) -> tuple[str, ...]:
        """Return the steps the named one waits for, those that can be resolved."""
        after = self.steps[name].after
        if not isinstance(after, (list, tuple)):
            return ()
        found = (self.dependency_name(reference) for reference in after)
        return tuple(dependency for dependency in found if dependency is not None)

    def dependency_name(self, reference: object) -> str | None:
        """Return the name of a step that is referred to by itself or by name."""
        if isinstance(reference, str):
            return reference if reference in self.steps else None
        return self.step_name(reference)

    def routes(self) -> list[tuple[str, str, str]]:
        """Return the transitions that can be resolved: from, outcome, to."""
        found = []
        for link in self.links:
            source, target = self.step_name(link.source), self.target_name(link.target)
            if source is not None and target is not None and isinstance(link.on, str):
                found.append((source, link.on, target))
        return found


def snake_case(name: str) -> str:
    """Return a class name as the default name of its workflow.

    >>> snake_case("PaymentRecovery"), snake_case("HTTPSync2Run")
    ('payment_recovery', 'http_sync2_run')
    """
    return _WORD_ENDS.sub("_", name).lower()


def _payload_schema(name: str, trigger: Trigger) -> Schema | Broken:
    if trigger.schema is not None:
        return _schema(trigger.schema)
    usable = {key: value for key, value in trigger.fields.items() if isinstance(value, Field)}
    return _schema(Schema.from_dict(usable, name=f"{name}_payload"))


def _schemas(written: Mapping[str, object]) -> dict[str, Schema | Broken]:
    return {name: _schema(value) for name, value in written.items() if value is not None}


def _schema(written: object) -> Schema | Broken:
    if isinstance(written, Schema):
        return written
    if not (isinstance(written, type) and issubclass(written, Schema)):
        return Broken(f"{type(written).__name__} is not a marshmallow schema")
    try:
        return written()
    except (TypeError, ValueError, LookupError, AttributeError, NameError) as error:
        return Broken(f"{written.__name__}() can not be created: {error}")


def _parameters(function: object) -> Parameters | Broken:
    if not callable(function):
        return Broken(f"{type(function).__name__} is not a function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return Broken("it is asynchronous and nothing would await it")
    if inspect.isgeneratorfunction(function):
        return Broken("it is a generator and nothing would iterate over it")
    try:
        return parameters_of(function)
    except (TypeError, ValueError) as error:
        return Broken(f"its parameters can not be found out: {error}")

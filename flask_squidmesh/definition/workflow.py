"""`Workflow`: a class whose body is its definition.

Creating the class reads the body into a draft, checks it, and compiles it into
a frozen `Definition` beside the code its steps run. A class with problems is
never created.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, ClassVar, cast

from marshmallow import Schema

from flask_squidmesh.definition import graph, payload
from flask_squidmesh.definition.check import check, wait_seconds
from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.definition.declarations import Chain, Declaration, Step, Trigger
from flask_squidmesh.definition.draft import Draft, snake_case
from flask_squidmesh.definition.inputs import Parameters
from flask_squidmesh.definition.spec import (
    BackoffSpec,
    Definition,
    OutcomeName,
    RetrySpec,
    StepSpec,
    TransitionSpec,
    TriggerSpec,
)


class _Body(dict[str, Any]):
    """The namespace of a class body; remembers declarations whose name was bound again."""

    def __init__(self) -> None:
        super().__init__()
        self.rebound: dict[str, None] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        both = (self.get(name), value)
        if name in self and any(isinstance(bound, Declaration) for bound in both):
            self.rebound[name] = None
        super().__setitem__(name, value)


class WorkflowType(type):
    """Compiles the class body of every subclass of `Workflow`."""

    @classmethod
    def __prepare__(cls, name: str, bases: tuple[type, ...], /, **kwargs: Any) -> _Body:
        return _Body()

    def __new__(
        metacls, name: str, bases: tuple[type, ...], body: dict[str, Any], /, **kwargs: Any
    ) -> WorkflowType:
        created = super().__new__(metacls, name, bases, dict(body), **kwargs)
        if not any(isinstance(base, WorkflowType) for base in bases):
            return created
        draft = _read(created, tuple(body.rebound) if isinstance(body, _Body) else ())
        check(draft)
        code = _compile(draft)
        type.__setattr__(created, "name", code.definition.name)
        type.__setattr__(created, "definition", code.definition)
        type.__setattr__(created, "__squidmesh__", code)
        return created


class Workflow(metaclass=WorkflowType):
    """Base of all workflows: declare triggers, steps and transitions in the class body."""

    name: ClassVar[str]
    """The registered name; the class name in snake case unless it is given."""

    version: ClassVar[str | None] = None
    """A label shown to operators, such as a date."""

    transitions: ClassVar[Sequence[Chain]] = ()
    """How the steps hang together; empty where steps say what they wait for (`after`)."""

    definition: ClassVar[Definition]
    """The class body as a frozen, JSON-safe value; set when the class is created."""

    __squidmesh__: ClassVar[WorkflowCode]


def _read(created: type, rebound: Sequence[str]) -> Draft:
    declared: dict[str, Declaration] = {}
    bound: dict[int, dict[str, None]] = {}
    for parent in reversed(created.__mro__):
        for name, value in vars(parent).items():
            if isinstance(value, Declaration):
                declared[name] = value
                bound.setdefault(id(value), {})[name] = None
            else:
                declared.pop(name, None)
    body = vars(created)
    return Draft(
        class_name=created.__name__,
        description=inspect.cleandoc(created.__doc__) if created.__doc__ else None,
        name=_unless_declared(body.get("name"), default=snake_case(created.__name__)),
        version=_unless_declared(getattr(created, "version", None), default=None),
        written_transitions=_unless_declared(getattr(created, "transitions", ()), default=()),
        declared=declared,
        aliases={identity: tuple(names) for identity, names in bound.items()},
        rebound=rebound,
        misused=tuple(
            name
            for name in ("definition", "complete", "__squidmesh__")
            if name in body and not isinstance(body[name], Declaration)
        ),
    )


def _unless_declared(value: object, *, default: object) -> object:
    # A step under a reserved name is reported as that, and not as a bad name or version too.
    return default if value is None or isinstance(value, Declaration) else value


def _compile(draft: Draft) -> WorkflowCode:
    """Build definition and code from a draft that was checked."""
    schemas = cast("dict[str, Schema]", draft.payload_schemas)
    routes = draft.routes()
    steps = tuple(_step(draft, name, step) for name, step in draft.steps.items())
    definition = Definition(
        name=cast(str, draft.name),
        version=cast("str | None", draft.version),
        mode="dependency" if draft.is_dependency else "transition",
        triggers=tuple(_trigger(n, t, schemas[n]) for n, t in draft.triggers.items()),
        steps=steps,
        transitions=tuple(
            TransitionSpec(source, cast(OutcomeName, on), target) for source, on, target in routes
        ),
        entry_steps=tuple(
            [step.name for step in steps if not step.depends_on]
            if draft.is_dependency
            else graph.entry_of(draft.steps, routes)
        ),
    )
    return WorkflowCode(
        definition=definition,
        description=draft.description,
        functions=MappingProxyType({name: draft.steps[name].function for name in draft.parameters}),
        parameters=MappingProxyType(cast("dict[str, Parameters]", dict(draft.parameters))),
        input_schemas=MappingProxyType(cast("dict[str, Schema]", dict(draft.input_schemas))),
        output_schemas=MappingProxyType(cast("dict[str, Schema]", dict(draft.output_schemas))),
        payload_schemas=MappingProxyType(dict(schemas)),
    )


def _trigger(name: str, trigger: Trigger, schema: Schema) -> TriggerSpec:
    return TriggerSpec(
        name=name,
        kind=trigger.kind,
        fields=payload.field_types(schema),
        expression=trigger.expression,
        timezone=trigger.timezone,
        catch_up=trigger.catch_up,
    )


def _step(draft: Draft, name: str, step: Step) -> StepSpec:
    written = step.input
    return StepSpec(
        name=name,
        kind=step.kind,
        depends_on=draft.dependencies(name),
        input=tuple(written) if isinstance(written, (list, tuple)) else written and dict(written),
        output=step.output,
        retry=step.retry and _retry(step.retry),
        transaction=step.transaction,
        at_most_once=step.at_most_once,
        seconds=float(cast(float, wait_seconds(step))) if step.kind == "wait" else None,
        message=step.options.get("message"),
        level=step.options.get("level"),
    )


def _retry(retry: RetrySpec) -> RetrySpec:
    # The same numbers give the same fingerprint, whether they were written as 5 or 5.0.
    backoff = retry.backoff
    if backoff is None:
        return retry
    return RetrySpec(
        retry.max_attempts,
        BackoffSpec(
            backoff.kind,
            float(backoff.minimum),
            float(backoff.maximum),
            float(backoff.factor),
            float(backoff.jitter),
        ),
    )

"""Frozen definitions: what a run follows, whatever code is deployed later.

Everything here is a plain value that survives JSON: `Definition.to_dict` and
`Definition.from_dict` are inverse, and the fingerprint is taken over the
canonical form of the former. Functions and schemas are not part of it; they
are looked up by step name in the current code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, cast

StepKind = Literal["step", "wait", "log", "pause", "approval"]
OutcomeName = Literal["ok", "error"]
Mode = Literal["transition", "dependency"]

_T = TypeVar("_T")

COMPLETE: Final = "complete"
"""The name of the end of a run, where a step's name would stand."""


@dataclass(frozen=True)
class BackoffSpec:
    """How long to wait after a failed attempt; seconds."""

    kind: Literal["exponential", "fixed"]
    minimum: float
    maximum: float
    factor: float = 2.0
    jitter: float = 0.0


@dataclass(frozen=True)
class RetrySpec:
    """How often a step is tried; `max_attempts` counts the first try."""

    max_attempts: int
    backoff: BackoffSpec | None = None


@dataclass(frozen=True)
class TriggerSpec:
    """One way to start a workflow."""

    name: str
    kind: Literal["manual", "cron"]
    fields: Mapping[str, str] = field(default_factory=dict)
    expression: str | None = None
    timezone: str | None = None
    catch_up: Literal["latest", "all", "none"] | None = None


@dataclass(frozen=True)
class StepSpec:
    """One declared step.

    `input` is a tuple of keys, a mapping of new names to dotted paths, or None
    for everything; `seconds` belongs to waits, `message` and `level` to logs.
    """

    name: str
    kind: StepKind
    depends_on: tuple[str, ...] = ()
    input: tuple[str, ...] | Mapping[str, str] | None = None
    output: str | None = None
    retry: RetrySpec | None = None
    transaction: bool = True
    at_most_once: bool = False
    seconds: float | None = None
    message: str | None = None
    level: str | None = None


@dataclass(frozen=True)
class TransitionSpec:
    """Where a run goes from a step, for one outcome; `to` may be `COMPLETE`."""

    source: str
    on: OutcomeName
    to: str


@dataclass(frozen=True)
class Definition:
    """A workflow as a value. Steps and triggers stand in declaration order."""

    name: str
    version: str | None
    mode: Mode
    triggers: tuple[TriggerSpec, ...]
    steps: tuple[StepSpec, ...]
    transitions: tuple[TransitionSpec, ...]
    entry_steps: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (FIPS 180-4) of the canonical JSON form, 64 hexadecimal digits."""
        canonical = json.dumps(self._body(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def steps_by_name(self) -> Mapping[str, StepSpec]:
        return MappingProxyType({step.name: step for step in self.steps})

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Step name to its place in declaration order, from 0."""
        return MappingProxyType({step.name: index for index, step in enumerate(self.steps)})

    def slot(self, step: str) -> int:
        """Return the place kept for the branch that begins at *step*.

        A transition workflow has one branch; in a dependency workflow every
        step runs once, so its place in declaration order is free for it.
        """
        return 0 if self.mode == "transition" else self.positions.get(step, 0)

    @cached_property
    def routes(self) -> Mapping[tuple[str, str], str]:
        """(step, outcome) to the next step or `COMPLETE`."""
        return MappingProxyType({(t.source, t.on): t.to for t in self.transitions})

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """Step name to the steps that wait for it, in declaration order."""
        found: dict[str, list[str]] = {step.name: [] for step in self.steps}
        for step in self.steps:
            for name in step.depends_on:
                found[name].append(step.name)
        return MappingProxyType({name: tuple(names) for name, names in found.items()})

    @cached_property
    def sinks(self) -> tuple[str, ...]:
        """Steps nobody waits for: a dependency workflow completes with the last of them."""
        return tuple(name for name, waiting in self.dependents.items() if not waiting)

    def trigger(self, name: str) -> TriggerSpec | None:
        return next((trigger for trigger in self.triggers if trigger.name == name), None)

    def _body(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "mode": self.mode,
            "triggers": [asdict(trigger) for trigger in self.triggers],
            "steps": [_step_to_dict(step) for step in self.steps],
            "transitions": [asdict(transition) for transition in self.transitions],
            "entry_steps": list(self.entry_steps),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-safe data, with its fingerprint."""
        return {**self._body(), "fingerprint": self.fingerprint}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Definition:
        """Build the definition that `to_dict` gave; unknown keys are left out.

        A definition stored by a newer release must stay readable by the
        workers of the previous one, which is why they are not an error.
        """
        found = cls(
            name=data["name"],
            version=data["version"],
            mode=data["mode"],
            triggers=tuple(_known(TriggerSpec, item) for item in data["triggers"]),
            steps=tuple(_step_from_dict(item) for item in data["steps"]),
            transitions=tuple(_known(TransitionSpec, item) for item in data["transitions"]),
            entry_steps=tuple(data["entry_steps"]),
        )
        if "fingerprint" in data:
            # That of a newer release's form is not to be had from what is known of it here.
            found.__dict__["fingerprint"] = data["fingerprint"]
        return found


def _step_to_dict(step: StepSpec) -> dict[str, Any]:
    # Not `asdict`, which copies every value in depth: there may be ten thousand steps.
    data = {name: getattr(step, name) for name in StepSpec.__dataclass_fields__}
    data["depends_on"] = list(step.depends_on)
    if isinstance(step.input, Mapping):
        data["input"] = dict(step.input)
    elif step.input is not None:
        data["input"] = list(step.input)
    if step.retry is not None:
        data["retry"] = asdict(step.retry)
    return data


def _step_from_dict(data: Mapping[str, Any]) -> StepSpec:
    values = dict(data)
    values["depends_on"] = tuple(values["depends_on"])
    if isinstance(values["input"], list):
        values["input"] = tuple(values["input"])
    if values["retry"] is not None:
        retry = dict(values["retry"])
        if retry["backoff"] is not None:
            retry["backoff"] = _known(BackoffSpec, retry["backoff"])
        values["retry"] = _known(RetrySpec, retry)
    return _known(StepSpec, values)


def _known(kind: type[_T], data: Mapping[str, Any]) -> _T:
    names = cast(Any, kind).__dataclass_fields__
    return kind(**{key: value for key, value in data.items() if key in names})

"""What the public calls return: frozen values with `to_dict()`.

Times are aware, in UTC; `to_dict()` gives JSON-safe data with ISO 8601 text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, overload


def jsonable(value: Any) -> Any:
    """Return *value* with result objects, mappings, sequences and times made JSON-safe."""
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


class Result:
    """Base of the results: frozen dataclasses that turn into JSON-safe mappings."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, JSON-safe, keyed by their names."""
        return {f.name: jsonable(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass


@dataclass(frozen=True, slots=True)
class Attempt(Result):
    """One try of one step run; a retry is the next attempt, numbered from 1.

    `error` is `{"code", "message", "type", "details", "retryable"}` or None.
    """

    number: int
    status: str
    error: Mapping[str, Any] | None
    worker: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepRun(Result):
    """One activation of a step; a loop's next visit is a new one.

    `outcome` is the route taken when it ended: `"ok"`, `"error"`, or None
    while it is unfinished and where its end led nowhere.
    """

    step: str
    kind: str
    visit: int
    status: str
    outcome: str | None
    input: Any
    output: Any
    attempts: tuple[Attempt, ...]
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepState(Result):
    """Where one declared step stands; with loops, its latest visit.

    `visit` is 0 and `status` `"not_started"` for a step that was not entered.
    """

    step: str
    kind: str
    status: str
    depends_on: tuple[str, ...]
    visit: int
    input: Any
    output: Any
    last_error: Mapping[str, Any] | None
    attempts: tuple[Attempt, ...]
    due_at: datetime | None
    created_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditEvent(Result):
    """Something a person did, or was asked to do."""

    type: str
    step: str | None
    actor: Any
    comment: str | None
    metadata: Mapping[str, Any] | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Run(Result):
    """One run of a workflow.

    `steps`, `step_runs` and `audit_events` are None unless the history was asked for.
    """

    id: str
    workflow: str
    definition_version: str | None
    trigger: str
    status: str
    payload: Mapping[str, Any]
    context: Mapping[str, Any]
    current_step: str | None
    last_error: Mapping[str, Any] | None
    replayed_from_run_id: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    steps: tuple[StepState, ...] | None = None
    step_runs: tuple[StepRun, ...] | None = None
    audit_events: tuple[AuditEvent, ...] | None = None


@dataclass(frozen=True, slots=True)
class RunPage(Result, Sequence[Run]):
    """A page of runs, newest first; `next` continues after it (None: there is no more)."""

    items: tuple[Run, ...]
    next: str | None = None

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | Sequence[Run]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class TickResult(Result):
    """What one round of the ticker did.

    `due`: steps rung; `expired`: leases that had run out; `started`: cron runs.
    """

    due: int = 0
    expired: int = 0
    started: int = 0

"""The state tables: every status and every legal move, once.

One literal table per lifecycle. The enums' members, the guards of the SQL
statements, the CHECK constraints and the diagrams of the documentation are
all derived from these; there is no second list of states anywhere. Callers
name an event, never a target status.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunEvent(StrEnum):
    """What moves a run."""

    START = "start"
    RETRY = "retry"
    RESUME = "resume"
    PAUSE = "pause"
    COMPLETE = "complete"
    FAIL = "fail"
    REQUEST_CANCEL = "request_cancel"
    CANCEL = "cancel"


class StepRunStatus(StrEnum):
    """Where one activation of a step stands."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepRunEvent(StrEnum):
    """What moves a step run."""

    CLAIM = "claim"
    DELAY = "delay"
    PAUSE = "pause"
    RETRY = "retry"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"


class AttemptStatus(StrEnum):
    """How one try of a step run ended, or that it has not."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


class AttemptEvent(StrEnum):
    """What ends an attempt."""

    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    ABANDON = "abandon"


_R, _RE = RunStatus, RunEvent
_S, _SE = StepRunStatus, StepRunEvent
_A, _AE = AttemptStatus, AttemptEvent

# fmt: off
RUN: Final[Mapping[tuple[RunStatus, RunEvent], RunStatus]] = {
    # in this status  on this event        goes to
    (_R.PENDING,      _RE.START):          _R.RUNNING,
    (_R.PENDING,      _RE.FAIL):           _R.FAILED,
    (_R.PENDING,      _RE.CANCEL):         _R.CANCELLED,
    (_R.RUNNING,      _RE.RETRY):          _R.RETRYING,
    (_R.RUNNING,      _RE.PAUSE):          _R.PAUSED,
    (_R.RUNNING,      _RE.COMPLETE):       _R.COMPLETED,
    (_R.RUNNING,      _RE.FAIL):           _R.FAILED,
    (_R.RUNNING,      _RE.REQUEST_CANCEL): _R.CANCELLING,
    (_R.RUNNING,      _RE.CANCEL):         _R.CANCELLED,
    (_R.RETRYING,     _RE.RESUME):         _R.RUNNING,
    (_R.RETRYING,     _RE.FAIL):           _R.FAILED,
    (_R.RETRYING,     _RE.REQUEST_CANCEL): _R.CANCELLING,
    (_R.RETRYING,     _RE.CANCEL):         _R.CANCELLED,
    (_R.PAUSED,       _RE.RESUME):         _R.RUNNING,
    (_R.PAUSED,       _RE.COMPLETE):       _R.COMPLETED,
    (_R.PAUSED,       _RE.FAIL):           _R.FAILED,
    (_R.PAUSED,       _RE.CANCEL):         _R.CANCELLED,
    (_R.CANCELLING,   _RE.CANCEL):         _R.CANCELLED,
    (_R.CANCELLING,   _RE.FAIL):           _R.FAILED,
}

STEP_RUN: Final[Mapping[tuple[StepRunStatus, StepRunEvent], StepRunStatus]] = {
    # in this status  on this event        goes to
    (_S.PENDING,      _SE.CLAIM):          _S.RUNNING,
    (_S.PENDING,      _SE.DELAY):          _S.WAITING,
    (_S.PENDING,      _SE.PAUSE):          _S.PAUSED,
    (_S.PENDING,      _SE.CANCEL):         _S.CANCELLED,
    (_S.WAITING,      _SE.CLAIM):          _S.RUNNING,
    (_S.WAITING,      _SE.CANCEL):         _S.CANCELLED,
    (_S.RETRYING,     _SE.CLAIM):          _S.RUNNING,
    (_S.RETRYING,     _SE.CANCEL):         _S.CANCELLED,
    (_S.RUNNING,      _SE.COMPLETE):       _S.COMPLETED,
    (_S.RUNNING,      _SE.RETRY):          _S.RETRYING,
    (_S.RUNNING,      _SE.FAIL):           _S.FAILED,
    (_S.RUNNING,      _SE.CANCEL):         _S.CANCELLED,
    (_S.PAUSED,       _SE.COMPLETE):       _S.COMPLETED,
    (_S.PAUSED,       _SE.CANCEL):         _S.CANCELLED,
}

ATTEMPT: Final[Mapping[tuple[AttemptStatus, AttemptEvent], AttemptStatus]] = {
    # in this status  on this event        goes to
    (_A.RUNNING,      _AE.SUCCEED):        _A.COMPLETED,
    (_A.RUNNING,      _AE.FAIL):           _A.FAILED,
    (_A.RUNNING,      _AE.CANCEL):         _A.CANCELLED,
    (_A.RUNNING,      _AE.ABANDON):        _A.ABANDONED,
}
# fmt: on

_Status = TypeVar("_Status", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)


def sources(table: Mapping[tuple[_Status, _Event], _Status], event: _Event) -> tuple[_Status, ...]:
    """Return the statuses *event* may find, in the order of the table."""
    return tuple(status for status, named in table if named == event)


def target(table: Mapping[tuple[_Status, _Event], _Status], event: _Event) -> _Status:
    """Return the one status *event* leads to."""
    (found,) = {to for (_, named), to in table.items() if named == event}
    return found


def terminal(table: Mapping[tuple[_Status, _Event], _Status]) -> tuple[_Status, ...]:
    """Return the statuses nothing leads out of, in the order they are first reached."""
    leaving = {status for status, _ in table}
    return tuple(dict.fromkeys(to for to in table.values() if to not in leaving))


def active(table: Mapping[tuple[_Status, _Event], _Status]) -> tuple[_Status, ...]:
    """Return the statuses something leads out of, in the order of the table."""
    return tuple(dict.fromkeys(status for status, _ in table))

"""What `decide` answers with: moves to make, in order, within one transaction.

The effect on the branch stands first, because its guarded write is what finds
out that a lease is gone. Statuses are never named here, only events; the
exception is the status a newly entered step run begins with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flask_squidmesh.definition.spec import OutcomeName
from flask_squidmesh.lifecycle.facts import Error
from flask_squidmesh.lifecycle.states import AttemptEvent, RunEvent, StepRunEvent

EntryStatus = Literal["pending", "waiting", "running", "paused"]
AuditType = Literal["paused", "resumed", "approved", "rejected", "cancelled", "replayed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """The ready step run is executed by this worker: next attempt, new token, new lease."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The pending wait begins: its timer runs for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Suspend:
    """The pending pause or approval begins."""


@dataclass(frozen=True, slots=True)
class Again:
    """The same worker starts the next attempt of the same step run at once."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The step run waits `seconds` for its next attempt; `lost`: its worker had vanished."""

    seconds: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """The branch ends here."""


@dataclass(frozen=True, slots=True)
class Move:
    """The branch goes on to another step run, for `waiting` with a timer of `seconds`."""

    step: str
    visit: int
    status: EntryStatus
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Fork:
    """One more branch begins, in the place kept for its step."""

    step: str
    slot: int
    status: EntryStatus
    seconds: float = 0.0
    visit: int = 1


@dataclass(frozen=True, slots=True)
class EndAttempt:
    """The current attempt is over."""

    event: AttemptEvent
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class EndStep:
    """The step run is over; `outcome` is the route taken, None when its end leads nowhere."""

    event: StepRunEvent
    outcome: OutcomeName | None


@dataclass(frozen=True, slots=True)
class CountDown:
    """A join waits for one dependency fewer."""

    step: str


@dataclass(frozen=True, slots=True)
class MoveRun:
    """The run's status changes; `error` is kept with the new status."""

    event: RunEvent
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class CancelIdle:
    """Every branch on which nothing executes is cancelled."""


@dataclass(frozen=True, slots=True)
class Audit:
    """An event about `step` for the people's history; who and why is added by the caller."""

    type: AuditType
    step: str | None


Effect = (
    Claim
    | Delay
    | Suspend
    | Again
    | Retry
    | Leave
    | Move
    | Fork
    | EndAttempt
    | EndStep
    | CountDown
    | MoveRun
    | CancelIdle
    | Audit
)

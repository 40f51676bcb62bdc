"""What `decide` is told: facts about a run and one of its branches, and what happened."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from flask_squidmesh.definition.spec import Definition, OutcomeName
from flask_squidmesh.lifecycle.states import RUN, RunStatus, StepRunStatus, terminal

Error = Mapping[str, Any]
"""`{"code", "message", "type", "details", "retryable"}`, JSON-safe."""


def with_step(error: Error, step: str) -> Error:
    """Return *error* as a run keeps it: with the name of the step that failed."""
    return {**error, "step": step}


Others = Literal["none", "retrying", "active"]
"""The run's other branches: none, only retries that wait, or something that moves."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that decisions depend on."""

    max_step_visits: int
    max_lost_attempts: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Where a run and the branch in question stand, under the run's lock.

    `attempt` is the number of the current attempt (0: none yet), `lost` how
    many of them lost their worker. `visits` counts the visits of each step
    entered so far, `missing` the unfinished dependencies of each join that
    waits for this step, the run's completion under `COMPLETE`. `inline` holds
    the steps the worker could go on with at once; `chance` in [0, 1) places a
    delay within its jitter.
    """

    definition: Definition
    limits: Limits
    run: RunStatus
    step: str
    visit: int
    status: StepRunStatus
    attempt: int = 0
    lost: int = 0
    others: Others = "none"
    visits: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    inline: Container[str] = ()
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A worker looks at a branch that is ready."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The step did its work."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; `delay` (seconds) overrides the backoff of a retry."""

    error: Error
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The attempt's worker vanished: its lease ran out."""

    error: Error


@dataclass(frozen=True, slots=True)
class Resolved:
    """A person answered a pause (`resumed`) or an approval (`approved`, `rejected`)."""

    answer: Literal["resumed", "approved", "rejected"]

    @property
    def on(self) -> OutcomeName:
        return "error" if self.answer == "rejected" else "ok"


Outcome = Taken | Succeeded | Failed | Lost | Resolved

ENDED: Final = frozenset(terminal(RUN))
"""The statuses of a run that is over."""

"""A run in memory: carries out what `decide` answers, and refuses what must not be.

It knows the state tables and the meaning of each effect, and nothing about
why: every broken promise shows as an `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flask_squidmesh.definition.spec import COMPLETE, Definition
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.decide import EXECUTABLE, Refused, cancel, decide
from flask_squidmesh.lifecycle.facts import ENDED, Facts, Limits, Others, Outcome, Taken
from flask_squidmesh.lifecycle.states import (
    ATTEMPT,
    RUN,
    STEP_RUN,
    AttemptStatus,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
)

ON_THE_BRANCH = (do.Claim, do.Delay, do.Suspend, do.Again, do.Retry, do.Leave, do.Move)
"""The effects of which a decision about a branch has exactly one, and first."""
LIMITS = Limits(max_step_visits=3, max_lost_attempts=2)


@dataclass
class Place:
    """An active step run."""

    step: str
    visit: int
    status: StepRunStatus
    attempt: int = 0
    lost: int = 0


@dataclass
class Simulator:
    """One run of *definition*, and everything that ever happened in it."""

    definition: Definition
    run: RunStatus = RunStatus.PENDING
    places: dict[int, Place] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)
    entered: list[tuple[str, int]] = field(default_factory=list)
    ended: dict[tuple[str, int], StepRunStatus] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.definition.entry_steps:
            slot = 0 if self.definition.mode == "transition" else self.definition.slot(name)
            self._enter(slot, name, 1, "pending")
        if self.definition.mode == "dependency":
            self.missing = {s.name: len(s.depends_on) for s in self.definition.steps}
            self.missing[COMPLETE] = len(self.definition.sinks)

    # What may happen next.

    def ready(self) -> list[int]:
        """The places a worker may take."""
        claimable = (StepRunStatus.PENDING, StepRunStatus.WAITING, StepRunStatus.RETRYING)
        return [slot for slot, place in self.places.items() if place.status in claimable]

    def executing(self) -> list[int]:
        return self._at(StepRunStatus.RUNNING)

    def paused(self) -> list[int]:
        return self._at(StepRunStatus.PAUSED)

    def _at(self, status: StepRunStatus) -> list[int]:
        return [slot for slot, place in self.places.items() if place.status == status]

    # What happens.

    def happen(self, slot: int, outcome: Outcome, *, inline: bool) -> None:
        """Ask `decide` about the place in *slot*, and carry the answer out."""
        place = self.places[slot]
        executable = frozenset(s.name for s in self.definition.steps if s.kind in EXECUTABLE)
        facts = Facts(
            definition=self.definition,
            limits=LIMITS,
            run=self.run,
            step=place.step,
            visit=place.visit,
            status=place.status,
            attempt=place.attempt,
            lost=place.lost,
            others=self._others(slot),
            visits=dict(self.visits),
            missing=dict(self.missing),
            inline=executable if inline else frozenset(),
        )
        effects = decide(facts, outcome)
        on_the_branch = [e for e in effects if isinstance(e, ON_THE_BRANCH)]
        assert on_the_branch == [effects[0]], "the branch is moved, held or left once, and first"
        if not isinstance(outcome, Taken):
            endings = [e for e in effects if isinstance(e, do.EndAttempt)]
            assert len(endings) == 1, "each attempt ends once"
        self._carry_out(slot, place, effects)

    def cancel(self) -> bool:
        """Ask for the run's end; False when that is refused."""
        try:
            effects = cancel(self.run, executing=bool(self.executing()), step=None)
        except Refused:
            return False
        self._carry_out(-1, Place("", 0, StepRunStatus.RUNNING), effects)
        return True

    def _others(self, slot: int) -> Others:
        others = [place for other, place in self.places.items() if other != slot]
        if any(place.status != StepRunStatus.RETRYING for place in others):
            return "active"
        return "retrying" if others else "none"

    def _carry_out(  # noqa: C901  # one short case per effect
        self, slot: int, place: Place, effects: Sequence[do.Effect]
    ) -> None:
        was_active = self.run not in ENDED and self.run != RunStatus.CANCELLING
        for effect in effects:
            match effect:
                case do.Claim():
                    fresh = place.status != StepRunStatus.WAITING
                    place.status = STEP_RUN[(place.status, StepRunEvent.CLAIM)]
                    place.attempt += fresh
                case do.Delay():
                    place.status = STEP_RUN[(place.status, StepRunEvent.DELAY)]
                    place.attempt += 1
                case do.Suspend():
                    place.status = STEP_RUN[(place.status, StepRunEvent.PAUSE)]
                    place.attempt += 1
                case do.Again():
                    retrying = STEP_RUN[(place.status, StepRunEvent.RETRY)]
                    place.status = STEP_RUN[(retrying, StepRunEvent.CLAIM)]
                    place.attempt += 1
                case do.Retry(seconds, lost):
                    assert seconds >= 0
                    place.status = STEP_RUN[(place.status, StepRunEvent.RETRY)]
                    place.lost += lost
                case do.Leave():
                    del self.places[slot]
                case do.Move(step, visit, status, _):
                    assert was_active, "nothing is entered once the run ends"
                    del self.places[slot]
                    self._enter(slot, step, visit, status)
                case do.Fork(step, fork, status, _):
                    assert was_active, "nothing is entered once the run ends"
                    self._enter(fork, step, 1, status)
                case do.EndAttempt(event, _):
                    assert (AttemptStatus.RUNNING, event) in ATTEMPT
                case do.EndStep(event, _):
                    self._end(place, event)
                case do.CountDown(step):
                    self.missing[step] -= 1
                    assert self.missing[step] >= 0
                case do.MoveRun(event, _):
                    self.run = RUN[(self.run, event)]
                case do.CancelIdle():
                    for idle in [s for s, p in self.places.items() if s not in self.executing()]:
                        self._end(self.places.pop(idle), StepRunEvent.CANCEL)
                case do.Audit(kind, _):
                    self.events.append(kind)
        self.check()

    def _enter(self, slot: int, step: str, visit: int, status: do.EntryStatus) -> None:
        assert slot not in self.places, "a place is free before it is entered"
        assert (step, visit) not in self.entered, "each visit of a step is entered once"
        self.entered.append((step, visit))
        self.visits[step] = max(self.visits.get(step, 0), visit)
        self.places[slot] = Place(
            step, visit, StepRunStatus(status), attempt=0 if status == "pending" else 1
        )

    def _end(self, place: Place, event: StepRunEvent) -> None:
        key = (place.step, place.visit)
        assert key not in self.ended, "each step run ends once"
        self.ended[key] = STEP_RUN[(place.status, event)]

    # What always holds.

    def check(self) -> None:
        """Assert what holds between any two decisions."""
        statuses = [place.status for place in self.places.values()]
        running = [status for status in statuses if status == StepRunStatus.RUNNING]
        # Nothing that was entered is lost: it is active, or it has ended.
        active = {(place.step, place.visit) for place in self.places.values()}
        assert active | set(self.ended) == set(self.entered)
        assert not active & set(self.ended)
        if self.run in ENDED or self.run == RunStatus.CANCELLING:
            assert statuses == running, "after the end only what was executing still does"
        else:
            assert statuses, "a run that goes on stands somewhere"
        if self.run == RunStatus.CANCELLING:
            assert running, "a cancellation waits for something"
        assert (self.run == RunStatus.PAUSED) == (StepRunStatus.PAUSED in statuses)
        only_retries = bool(statuses) and set(statuses) == {StepRunStatus.RETRYING}
        assert (self.run == RunStatus.RETRYING) == only_retries
        if self.run == RunStatus.COMPLETED and self.definition.mode == "dependency":
            everything = {(spec.name, 1) for spec in self.definition.steps}
            completed = {k for k, status in self.ended.items() if status == "completed"}
            assert completed == everything

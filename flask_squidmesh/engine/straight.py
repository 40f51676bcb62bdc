"""Settles the straight path: in a transition workflow a step succeeded, and the way is clear.

`decide` is asked first, for a run that is running; if its answer is to go on
with the next step or to complete the run, and nothing else, `store.straight`
does it in one statement where the database can. Otherwise, and when the
statement finds the run or the lease otherwise, the general path of `settle`
takes over; both leave the same rows. Where a step leads to one that the run has
not entered before, the answer depends on the definition alone, and is kept.

The statement that completes a run also claims the first step of another run, if
the worker may go on with one and knows of one that waits (`backlog`). When that
one can not be had so, the run is completed all the same, and what is known of
the other is tried as usual afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_squidmesh.engine import first_claim
from flask_squidmesh.engine.keep import is_long
from flask_squidmesh.engine.memory import Held, Settled
from flask_squidmesh.engine.news import News, Notice, about, together
from flask_squidmesh.engine.runtime import Runtime, worker_name
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.decide import decide
from flask_squidmesh.lifecycle.facts import Facts, Outcome, Succeeded
from flask_squidmesh.lifecycle.states import AttemptEvent, RunEvent, RunStatus, StepRunEvent
from flask_squidmesh.store import prepared, straight, transaction
from flask_squidmesh.store.branches import Branch

_SUCCESS = (
    do.EndAttempt(AttemptEvent.SUCCEED),
    do.EndStep(StepRunEvent.COMPLETE, "ok"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A straight settlement: on to `move`, or to the end of the run when there is none.

    With `other_runs` the worker goes on with another run after that end.
    """

    runtime: Runtime
    held: Held
    output: str | None
    move: do.Move | None
    other_runs: bool = False

    def carry_out(self, through: transaction.Connection | prepared.Alone) -> Written | None:
        """Settle in one statement; None means that nothing was done."""
        ending = straight.Ending(self.held.branch, self.held.memory.ordinal + 1, self.output)
        at = self.runtime.clock.frozen_at
        if self.move is None:
            # Only alone: the host's transaction may take long, and would lock the other run.
            if self.other_runs and isinstance(through, prepared.Alone):
                return self._complete_and_claim(through, ending, at)
            return self._complete(through, ending, at)
        worker = worker_name()
        moved = straight.go_on(
            through,
            ending,
            step=self.move.step,
            visit=self.move.visit,
            worker=worker,
            lease=timedelta(seconds=self.runtime.settings.lease_ttl),
            at=at,
        )
        if moved is None:
            return None
        now, lease_until = moved
        return Written(self, now, self._claimed(self.move, now, lease_until, worker))

    def _complete(
        self,
        through: transaction.Connection | prepared.Alone,
        ending: straight.Ending,
        at: datetime | None,
    ) -> Written | None:
        now = straight.complete(through, ending, at=at)
        return None if now is None else Written(self, now)

    def _complete_and_claim(
        self, through: prepared.Alone, ending: straight.Ending, at: datetime | None
    ) -> Written | None:
        runtime = self.runtime
        ring = runtime.backlog.take_known()
        if ring is None:
            return self._complete(through, ending, at)
        other = None
        try:
            wish = first_claim.wanted(runtime, ring.run_id, ring.step)
            if wish is None:
                return self._complete(through, ending, at)
            done = straight.complete_and_claim(through, ending, wish, at=at)
            if done is None:
                return None
            now, found = done
            if found is not None:
                other = first_claim.claimed(runtime, wish, found)
            return Written(self, now, other=other)
        finally:
            if other is None:
                runtime.backlog.give_back(ring)

    def _claimed(self, move: do.Move, now: datetime, lease_until: datetime, worker: str) -> Branch:
        branch = self.held.branch
        return Branch(
            run_id=branch.run_id,
            slot=branch.slot,
            step=move.step,
            visit=move.visit,
            status=branch.status,
            attempt=1,
            lost=0,
            fencing_token=branch.fencing_token + 1,
            horizon=self.held.memory.ordinal + 1,
            resends=0,
            created_at=now,
            ready_at=now,
            due_at=lease_until,
            rung_at=None,
            started_at=now,
            touched_at=now,
            worker=worker,
        )


@dataclass(frozen=True, slots=True)
class Written:
    """What the statement wrote: the plan, at which time, with the claim of the next step.

    After the end of the run that may be the first one of an `other`, with its news.
    """

    plan: Plan
    now: datetime
    claimed: Branch | None = None
    other: tuple[Held, News] | None = None

    def settled(self) -> Settled:
        """Return what came of it, once it is committed."""
        claimed, news = self.claimed, self._news()
        if self.other is not None:
            following, begun = self.other
            return Settled(following, together((news, begun)))
        if claimed is None:
            return Settled(news=news)
        held, memory = self.plan.held, self.plan.held.memory
        memory.complete(held.step, self.plan.output)
        memory.visits[claimed.step] = claimed.visit
        lease_until = claimed.due_at or self.now
        # An unchanged lease keeps its age.
        is_kept = lease_until == held.lease_until
        following = Held(
            run=held.run,
            definition=held.definition,
            code=held.code,
            inline=held.inline,
            branch=claimed,
            memory=memory,
            lease_until=lease_until,
            renewed=held.renewed if is_kept else self.plan.runtime.clock.monotonic(),
        )
        return Settled(following, news)

    def _news(self) -> News:
        run, ended, claimed = self.plan.held.run, self.plan.held.branch, self.claimed
        status = RunStatus.COMPLETED if claimed is None else RunStatus.RUNNING
        common = about(run, status, current_step=None if claimed is None else claimed.step)
        duration = (self.now - (ended.started_at or self.now)).total_seconds()
        of_ended = {**common, "step": ended.step, "attempt": ended.attempt, "duration": duration}
        completed = Notice("step_completed", of_ended)
        if claimed is not None:
            of_claimed = {**common, "step": claimed.step, "attempt": claimed.attempt}
            return News(notices=(Notice("step_started", of_claimed), completed))
        moved = {"from_status": RunStatus.RUNNING.value, "to_status": status.value}
        return News(notices=(completed, Notice("run_transition", {**common, **moved})))


def plan(
    runtime: Runtime,
    held: Held,
    outcome: Outcome,
    output: str | None,
    *,
    go_on: bool,
    other_runs: bool,
) -> Plan | None:
    """Return the straight settlement of *outcome* if there is one, None otherwise."""
    if (
        held.definition.mode != "transition"
        or not isinstance(outcome, Succeeded)
        or not prepared.is_possible(runtime.database)
    ):
        return None
    way = _way(runtime, held, outcome, go_on=go_on)
    if way is None:
        return None
    if isinstance(way, do.Move):
        return Plan(runtime, held, output, way)
    return Plan(runtime, held, output, None, other_runs and not is_long(held))


def _way(runtime: Runtime, held: Held, outcome: Succeeded, *, go_on: bool) -> do.Effect | None:
    """Return where the success leads, and ask `decide` only if nobody did for such a step."""
    known = runtime.ways
    key = (held.definition.fingerprint, held.code.definition.fingerprint, held.branch.step, go_on)
    if key not in known:
        known[key] = _ask(runtime, held, outcome, go_on=go_on, visits={})
    way, visits = known[key], held.memory.visits
    if isinstance(way, do.Move) and way.step in visits:
        return _ask(runtime, held, outcome, go_on=go_on, visits=visits)
    return way


def _ask(
    runtime: Runtime, held: Held, outcome: Succeeded, *, go_on: bool, visits: Mapping[str, int]
) -> do.Effect | None:
    """Return the move to the next step, or the end of the run; None if there is more to it."""
    branch = held.branch
    facts = Facts(
        definition=held.definition,
        limits=runtime.limits,
        run=RunStatus.RUNNING,
        step=branch.step,
        visit=branch.visit,
        status=branch.status,
        attempt=branch.attempt,
        lost=branch.lost,
        visits=visits,
        inline=held.inline if go_on else (),
    )
    match decide(facts, outcome):
        case (do.Move() as move, *ending) if tuple(ending) == _SUCCESS:
            return move if move.status == "running" else None
        case (do.Leave(), *ending, do.MoveRun(RunEvent.COMPLETE, None) as end) if (
            tuple(ending) == _SUCCESS
        ):
            return end
    return None

"""Goes on with another branch of the same run when one has ended.

In a dependency workflow a worker that leaves a branch takes the next one that
waits, in the very transaction that ends the first: no message, no claim of its
own, and what the run looks like from there is known already, since branches
that became ready together see the same. A worker that may not go on rings for
one of those that were not rung (`waking`), so that somebody else does.

Where the database can, and the step has succeeded and completed nothing but
itself, all of it is one statement; `decide` is asked first whether that is so.
Otherwise `settle` takes the general path, and `take_or_hand_over` follows it. Both leave the
same rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flask_squidmesh.definition.spec import COMPLETE
from flask_squidmesh.engine.apply import apply
from flask_squidmesh.engine.claim import load_memory
from flask_squidmesh.engine.memory import Held, Memory, Settled
from flask_squidmesh.engine.news import News, Notice, about
from flask_squidmesh.engine.runtime import Runtime, worker_name
from flask_squidmesh.engine.scene import Scene
from flask_squidmesh.engine.waking import ring_for_others
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.decide import decide
from flask_squidmesh.lifecycle.facts import Facts, Outcome, Succeeded, Taken
from flask_squidmesh.lifecycle.states import (
    AttemptEvent,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
)
from flask_squidmesh.store import branches, passing, prepared, runs, siblings, transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.passing import Wanted

_MANY = 2
"""So many dependencies a join is taken to miss; the statement finds out whether it does."""


def wanted(runtime: Runtime, held: Held, *, go_on: bool, then: str | None) -> Wanted | None:
    """Return which branch this worker would go on with: the step *then*, any, or none."""
    definition = held.definition
    if definition.mode != "dependency":
        return None
    if then is not None and then in held.inline:
        return Wanted(then, definition.slot(then))
    if not go_on:
        return None
    return Wanted(excluded=runtime.other_steps(definition, held.code))


@dataclass(frozen=True, slots=True)
class Plan:
    """A settlement of a step that succeeded, whose `join` misses others, and on to `wanted`."""

    runtime: Runtime
    held: Held
    output: str | None
    join: str
    wanted: Wanted

    def carry_out(self, through: transaction.Connection | prepared.Alone) -> Written | None:
        """Settle in one statement; None means that nothing was done."""
        held, runtime = self.held, self.runtime
        if not isinstance(through, prepared.Alone):
            # Nothing may fail here that could be repeated: the writes of the step are in this
            # transaction. With the lock held before, the statement sees all there is.
            runs.lock(through, held.run.id)
        passed = passing.pass_on(
            through,
            passing.Ending(held.branch, self.output, self.join),
            self.wanted,
            worker=worker_name(),
            lease=timedelta(seconds=runtime.settings.lease_ttl),
            at=runtime.clock.frozen_at,
        )
        return None if passed is None else Written(self, passed, self._memory(through, passed))

    def _memory(
        self, through: transaction.Connection | prepared.Alone, passed: passing.Passed
    ) -> Memory:
        held, claimed = self.held, passed.claimed
        if _sees_the_same(claimed, held):
            return held.memory

        def load(connection: transaction.Connection) -> Memory:
            return load_memory(connection, held.run, held.definition, claimed)

        if isinstance(through, prepared.Alone):
            return transaction.read(self.runtime.database, load)
        return load(through)


@dataclass(frozen=True, slots=True)
class Written:
    """What the statement wrote, and the run as it is seen from the branch that was claimed."""

    plan: Plan
    passed: passing.Passed
    memory: Memory

    def settled(self) -> Settled:
        """Return what came of it, once it is committed."""
        passed = self.passed
        following = _held_at(
            self.plan.runtime, self.plan.held, passed.claimed, self.memory, passed.now
        )
        return Settled(following, News(notices=tuple(self._notices())))

    def _notices(self) -> Iterator[Notice]:
        run, ended, claimed = self.plan.held.run, self.plan.held.branch, self.passed.claimed
        now = self.passed.now
        common = about(run, RunStatus.RUNNING, current_step=None)
        duration = (now - (ended.started_at or now)).total_seconds()
        of_ended = {"step": ended.step, "attempt": ended.attempt, "duration": duration}
        yield Notice("step_completed", {**common, **of_ended})
        of_claimed = {"step": claimed.step, "attempt": claimed.attempt}
        yield Notice("step_started", {**common, **of_claimed})


def plan(
    runtime: Runtime,
    held: Held,
    outcome: Outcome,
    output: str | None,
    *,
    go_on: bool,
    then: str | None,
) -> Plan | None:
    """Return the settlement in one statement if it may do for *outcome*, None otherwise."""
    if not isinstance(outcome, Succeeded) or not prepared.is_possible(runtime.database):
        return None
    wish = wanted(runtime, held, go_on=go_on, then=then)
    if wish is None:
        return None
    join = _only_join(runtime, held, outcome, go_on=go_on)
    return None if join is None else Plan(runtime, held, output, join, wish)


def _only_join(runtime: Runtime, held: Held, outcome: Succeeded, *, go_on: bool) -> str | None:
    """Return the one join that waits for the step of *held* and for others; None if it is not so.

    Of the step this depends on what waits for it, and on nothing else: `decide`
    is asked once for all branches between the same two steps.
    """
    known, definition = runtime.joins, held.definition
    waiting = definition.dependents[held.branch.step] or (COMPLETE,)
    key = (definition.fingerprint, waiting)
    if key not in known:
        known[key] = _ask(runtime, held, outcome, waiting, go_on=go_on)
    return known[key]


def _ask(
    runtime: Runtime, held: Held, outcome: Succeeded, waiting: tuple[str, ...], *, go_on: bool
) -> str | None:
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
        others="active",
        missing=dict.fromkeys(waiting, _MANY),
        inline=held.inline if go_on else (),
    )
    match decide(facts, outcome):
        case (
            do.Leave(),
            do.EndAttempt(AttemptEvent.SUCCEED, None),
            do.EndStep(StepRunEvent.COMPLETE, "ok"),
            do.CountDown(join),
        ):
            return join
    return None


def take_or_hand_over(scene: Scene, held: Held, *, go_on: bool, then: str | None) -> None:
    """Take another branch of the run in the transaction of *scene*, or leave it to somebody."""
    wish = wanted(scene.runtime, held, go_on=go_on, then=then)
    if wish is None:
        _hand_over(scene)
    else:
        _take(scene, held, wish)


def held_in(following: Scene, held: Held) -> Held | None:
    """Return the claim of the branch that follows *held*, with a lease of its own."""
    branch, memory = following.entered, following.memory
    if branch is None or memory is None:
        return None
    return _held_at(following.runtime, held, branch, memory, following.now)


def _held_at(runtime: Runtime, held: Held, branch: Branch, memory: Memory, now: datetime) -> Held:
    return Held(
        run=held.run,
        definition=held.definition,
        code=held.code,
        inline=held.inline,
        branch=branch,
        memory=memory,
        lease_until=branch.due_at or now,
        renewed=runtime.clock.monotonic(),
    )


def _take(scene: Scene, held: Held, wish: Wanted) -> None:
    """Claim the branch that is wanted in the transaction of *scene*, if it waits for a worker."""
    connection, run_id = scene.connection, scene.run.id
    if wish.step is not None:
        found = branches.find_in_slot(connection, run_id, wish.slot)
        is_wanted = found is not None and found.step == wish.step
        branch = found if is_wanted else None
    else:
        branch = siblings.find_pending(
            connection, run_id, after=scene.at.slot, excluded=wish.excluded
        )
    if branch is None or branch.status != StepRunStatus.PENDING:
        return
    following = Scene(
        runtime=scene.runtime,
        connection=connection,
        run=scene.run,
        definition=scene.definition,
        status=scene.status,
        now=scene.now,
        branch=branch,
        ordinal=branch.horizon,
    )
    facts = Facts(
        definition=scene.definition,
        limits=scene.runtime.limits,
        run=scene.status,
        step=branch.step,
        visit=branch.visit,
        status=branch.status,
        attempt=branch.attempt,
        lost=branch.lost,
    )
    apply(following, decide(facts, Taken()))
    _go_on_in(scene, following, held)


def _hand_over(scene: Scene) -> None:
    """Ring for a branch that was not rung, in the place of the worker that goes no further."""
    if any(ring.at is None for ring in scene.rings):
        return
    ring_for_others(scene, 1)


def find_taken(scene: Scene, held: Held) -> None:
    """Find the branch that a settlement claimed whose answer was lost, and go on with it.

    A thread executes one attempt at a time, and its name is in its claims: what
    else it has claimed in this run, and does not execute, is it.
    """
    runtime = scene.runtime
    executing = {(other.run.id, other.branch.slot) for other in runtime.executing.all()}
    for branch in siblings.list_claimed(scene.connection, scene.run.id, worker_name()):
        if (branch.run_id, branch.slot) not in executing:
            following = replace(scene, branch=branch, entered=branch, ended=[], rings=[])
            _go_on_in(scene, following, held)
            return


def _go_on_in(scene: Scene, following: Scene, held: Held) -> None:
    entered = following.entered
    if entered is None:
        return
    scene.following = following
    following.memory = _memory(following.connection, held, entered)


def _memory(connection: transaction.Connection, held: Held, entered: Branch) -> Memory:
    """Return the run as the claimed branch sees it, which is mostly as the one before did."""
    if _sees_the_same(entered, held):
        return held.memory
    return load_memory(connection, held.run, held.definition, entered)


def _sees_the_same(entered: Branch, held: Held) -> bool:
    return entered.horizon == held.branch.horizon

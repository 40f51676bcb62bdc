"""Settles the straight path: in a transition workflow a step succeeded, and the way is clear.

`decide` is asked first, for a run that is running; if its answer is to go on
with the next step or to complete the run, and nothing else, `store.straight`
does it in one statement where the database can. Otherwise, and when the
statement finds the run or the lease otherwise, the general path of `settle`
takes over; both leave the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flask_squidmesh.engine.memory import Held
from flask_squidmesh.engine.runtime import Runtime, worker_name
from flask_squidmesh.engine.scene import Scene
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.decide import decide
from flask_squidmesh.lifecycle.facts import Facts, Outcome, Succeeded
from flask_squidmesh.lifecycle.states import (
    STEP_RUN,
    AttemptEvent,
    RunEvent,
    RunStatus,
    StepRunEvent,
)
from flask_squidmesh.store import straight, transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.history import StepRunRow

_SUCCESS = (
    do.EndAttempt(AttemptEvent.SUCCEED),
    do.EndStep(StepRunEvent.COMPLETE, "ok"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A straight settlement: on to `move`, or to the end of the run when there is none."""

    runtime: Runtime
    held: Held
    output: str | None
    move: do.Move | None

    def carry_out(self, connection: transaction.Connection) -> Scene | None:
        """Settle in one statement and return the scene; None means that nothing was done."""
        if not straight.is_possible(connection):
            return None
        branch = self.held.branch
        ending = straight.Ending(branch, self.held.memory.ordinal + 1, self.output)
        at = self.runtime.clock.frozen_at
        if self.move is None:
            now = straight.complete(connection, ending, at=at)
            return None if now is None else self._completed(self._scene(connection, now))
        worker = worker_name()
        moved = straight.go_on(
            connection,
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
        scene = self._scene(connection, now)
        scene.entered = replace(
            branch,
            step=self.move.step,
            visit=self.move.visit,
            attempt=1,
            lost=0,
            fencing_token=branch.fencing_token + 1,
            horizon=scene.ordinal,
            resends=0,
            created_at=now,
            ready_at=now,
            due_at=lease_until,
            rung_at=None,
            started_at=now,
            touched_at=now,
            worker=worker,
        )
        scene.moved_to = self.move.step
        scene.tell("step_started", scene.entered)
        return self._ended(scene)

    def _scene(self, connection: transaction.Connection, now: datetime) -> Scene:
        return Scene(
            runtime=self.runtime,
            connection=connection,
            run=self.held.run,
            definition=self.held.definition,
            status=RunStatus.RUNNING,
            now=now,
            branch=self.held.branch,
            ordinal=self.held.memory.ordinal + 1,
            output=self.output,
        )

    def _completed(self, scene: Scene) -> Scene:
        scene.status = RunStatus.COMPLETED
        self._ended(scene)
        scene.tell_of_run(
            "run_transition",
            from_status=RunStatus.RUNNING.value,
            to_status=RunStatus.COMPLETED.value,
        )
        return scene

    def _ended(self, scene: Scene) -> Scene:
        branch = scene.at
        started = branch.started_at or scene.now
        scene.tell("step_completed", branch, duration=(scene.now - started).total_seconds())
        scene.ended.append(_step_run(branch, scene))
        return scene


def _step_run(branch: Branch, scene: Scene) -> StepRunRow:
    return StepRunRow(
        run_id=branch.run_id,
        step=branch.step,
        visit=branch.visit,
        slot=branch.slot,
        ordinal=scene.ordinal,
        horizon=branch.horizon,
        status=STEP_RUN[(branch.status, StepRunEvent.COMPLETE)].value,
        outcome="ok",
        output=scene.output,
        created_at=branch.created_at,
        finished_at=scene.now,
    )


def plan(
    runtime: Runtime, held: Held, outcome: Outcome, output: str | None, *, go_on: bool
) -> Plan | None:
    """Return the straight settlement of *outcome* if there is one, None otherwise."""
    if held.definition.mode != "transition" or not isinstance(outcome, Succeeded):
        return None
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
        visits=held.memory.visits,
        inline=held.inline if go_on else (),
    )
    match decide(facts, outcome):
        case (do.Move() as move, *ending) if tuple(ending) == _SUCCESS:
            return Plan(runtime, held, output, move) if move.status == "running" else None
        case (do.Leave(), *ending) if tuple(ending) == (
            *_SUCCESS,
            do.MoveRun(RunEvent.COMPLETE),
        ):
            return Plan(runtime, held, output, None)
    return None

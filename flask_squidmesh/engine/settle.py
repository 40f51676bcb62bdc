"""Settles an attempt: records how it ended and goes on, in one transaction.

Statements of the straight path, in this order: take the run's lock; re-point
the branch to the next step run, already claimed for this worker (the guarded
write, which finds out whether the lease is still held); insert the attempt;
insert the step run. One commit. The next step then runs without a message.

If the step used the host's session, all of this is executed on that session's
own connection and committed with it: the host's writes and the completion of
the step are one transaction. A lease that is gone rolls both back.

Repeating is safe: every settlement inserts an attempt with its fencing token,
so a lost answer to a commit can be told from a lost lease.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import partial

from flask_squidmesh.engine import errors, siblings, straight
from flask_squidmesh.engine.apply import apply
from flask_squidmesh.engine.claim import failure_behind
from flask_squidmesh.engine.memory import Held, Settled
from flask_squidmesh.engine.others import missing_of, others_of
from flask_squidmesh.engine.perform import Performed
from flask_squidmesh.engine.runtime import Runtime, worker_name
from flask_squidmesh.engine.scene import Fenced, Scene
from flask_squidmesh.lifecycle.decide import Refused, decide
from flask_squidmesh.lifecycle.facts import Facts, Failed, Lost, Outcome, Succeeded
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import branches, dialect, history, prepared, runs, transaction
from flask_squidmesh.store.dialect import is_passing

logger = logging.getLogger(__name__)


def settle(
    runtime: Runtime,
    held: Held,
    performed: Performed,
    *,
    go_on: bool,
    other_runs: bool = False,
    then: str | None = None,
) -> Settled:
    """Record how the attempt of *held* ended; with *go_on* claim the next step if it is ready.

    With *then* this worker goes on with that step of a dependency workflow, if
    it waits in a branch of its own, and with no other. With *other_runs* it may
    claim the first step of a run in the `backlog`, once that of *held* is over.

    An attempt whose lease is gone changes nothing: its writes in the host's
    session are rolled back with it.
    """
    settlement = _Settlement(
        runtime, held, performed, go_on=go_on, other_runs=other_runs, then=then
    )
    try:
        if isinstance(performed.outcome, Succeeded) and runtime.host.has_transaction():
            return settlement.with_host()
        return settlement.without_host()
    except Fenced:
        runtime.host.rollback()
        logger.warning(
            "attempt %s of step %s in run %s was taken over; what it did is not kept",
            held.branch.attempt,
            held.branch.step,
            held.run.id,
        )
        return Settled()


class _Settlement:
    """One settlement, however often its transaction has to be repeated."""

    def __init__(
        self,
        runtime: Runtime,
        held: Held,
        performed: Performed,
        *,
        go_on: bool,
        other_runs: bool,
        then: str | None,
    ) -> None:
        self._runtime = runtime
        self._held = held
        self._performed = performed
        self._go_on = go_on
        self._then = then
        outcome, output = performed.outcome, performed.output
        self._plan: straight.Plan | siblings.Plan | None = straight.plan(
            runtime, held, outcome, output, go_on=go_on, other_runs=other_runs
        ) or siblings.plan(runtime, held, outcome, output, go_on=go_on, then=then)
        self._others: list[history.StepRunRow] | None = None

    def with_host(self) -> Settled:
        """Settle on the host's connection, in its transaction."""
        host, performed, planned = self._runtime.host, self._performed, self._plan
        try:
            connection = host.connection()
            settled: Callable[[], Settled]
            written = None if planned is None else planned.carry_out(connection)
            if written is None:
                scene = self._write(
                    connection, performed.outcome, performed.output, performed.traceback
                )
                settled = partial(self._done, scene)
            else:
                settled = written.settled
            host.commit()
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001  # whatever the host's commit hooks raise
            host.rollback()
            return self._landed() or self.alone(
                self._failure_of_commit(error), None, errors.traceback_of(error)
            )
        return settled()

    def without_host(self) -> Settled:
        """Settle in a transaction of the engine's own; nothing uncommitted of the host is kept."""
        self._runtime.host.rollback()
        performed = self._performed
        return self._in_one_statement() or self.alone(
            performed.outcome, performed.output, performed.traceback
        )

    def _in_one_statement(self) -> Settled | None:
        """Settle in a transaction of one statement; None means that it takes more than that."""
        planned = self._plan
        if planned is None:
            return None
        alone = prepared.Alone(self._runtime.database, patience=self._patience())
        written = planned.carry_out(alone)
        return None if written is None else written.settled()

    def _patience(self) -> float:
        """Return for how many seconds a database that is away is tried: as long as the lease is.

        Nobody else can take the attempt over meanwhile, and what it did would be done again.
        """
        runtime = self._runtime
        used = runtime.clock.monotonic() - self._held.renewed
        return runtime.settings.lease_ttl - used

    def alone(self, outcome: Outcome, output: str | None, traceback: str | None) -> Settled:
        """Settle on a connection of the engine's own."""

        def work(connection: transaction.Connection) -> Scene:
            return self._write(connection, outcome, output, traceback)

        try:
            return self._done(
                transaction.run(self._runtime.database, work, patience=self._patience())
            )
        except Fenced:
            landed = self._landed()
            if landed is None:
                raise
            return landed

    def _failure_of_commit(self, error: Exception) -> Outcome:
        """Tell a failure of the step's own writes from one of the database."""
        if is_passing(error):
            return Lost(errors.of_database(error))
        return Failed(errors.of_exception(error))

    def _write(
        self,
        connection: transaction.Connection,
        outcome: Outcome,
        output: str | None,
        traceback: str | None,
    ) -> Scene:
        runtime, held = self._runtime, self._held
        locked = runs.lock(connection, held.run.id)
        if locked is None:
            raise Fenced
        memory, branch, definition = held.memory, held.branch, held.definition
        is_shared = definition.mode == "dependency"
        last = history.last_ordinal(connection, held.run.id) if is_shared else memory.ordinal
        scene = Scene(
            runtime=runtime,
            connection=connection,
            run=held.run,
            definition=definition,
            status=locked.status,
            now=runtime.clock.judge(locked.database_time),
            branch=branch,
            ordinal=last + 1,
            output=output,
            traceback=traceback,
            lease_until=held.lease_until,
        )
        facts = Facts(
            definition=definition,
            limits=runtime.limits,
            run=locked.status,
            step=branch.step,
            visit=branch.visit,
            status=branch.status,
            attempt=branch.attempt,
            lost=branch.lost,
            others=others_of(connection, branch, definition),
            visits=memory.visits,
            missing=missing_of(connection, branch, definition),
            inline=held.inline if self._go_on else (),
            chance=random.random(),  # noqa: S311  # spreads retries, keeps no secret
        )
        try:
            effects = decide(facts, outcome)
        except Refused:
            # Somebody took over, and the run stands where no attempt of ours can have left it.
            raise Fenced from None
        apply(scene, effects)
        if scene.entered is not None and scene.ended:
            self._catch_up(connection, memory.ordinal, scene.ordinal)
        if is_shared and scene.entered is None and scene.status == RunStatus.RUNNING:
            siblings.take_or_hand_over(scene, held, go_on=self._go_on, then=self._then)
        return scene

    def _catch_up(self, connection: transaction.Connection, after: int, up_to: int) -> None:
        """Read what other branches of the run have completed since this worker looked."""
        if self._held.definition.mode == "transition":
            return
        self._others = history.step_runs_between(
            connection, self._held.run.id, after=after, up_to=up_to
        )

    def _landed(self) -> Settled | None:
        """Return what came of this settlement if it was committed although its answer was lost.

        Every settlement records an attempt with its fencing token. What it
        claimed besides, if anything, is the branch with the next token.
        """
        branch = self._held.branch

        def work(connection: transaction.Connection) -> Scene | None:
            ordinal = history.find_landed(
                connection,
                branch.run_id,
                after=branch.horizon,
                step=branch.step,
                visit=branch.visit,
                fencing_token=branch.fencing_token,
            )
            return None if ordinal is None else self._recovered(connection, ordinal)

        scene = transaction.run(self._runtime.database, work, patience=self._patience())
        return None if scene is None else self._done(scene)

    def _recovered(self, connection: transaction.Connection, ordinal: int) -> Scene:
        """Return the scene that ended with attempt *ordinal* of the run, read from its rows."""
        held = self._held
        scene = Scene(
            runtime=self._runtime,
            connection=connection,
            run=held.run,
            definition=held.definition,
            status=RunStatus.RUNNING,
            now=self._runtime.clock.judge(dialect.time(connection)),
            branch=held.branch,
            ordinal=ordinal,
        )
        claimed = branches.find_in_slot(connection, held.run.id, held.branch.slot)
        if (
            claimed is None
            or claimed.fencing_token != held.branch.fencing_token + 1
            or claimed.status != StepRunStatus.RUNNING
            or claimed.worker != worker_name()
        ):
            if held.definition.mode == "dependency":
                siblings.find_taken(scene, held)
            return scene
        scene.entered = claimed
        scene.ended = history.step_runs_between(
            connection, held.run.id, after=ordinal - 1, up_to=ordinal
        )
        if scene.ended:
            scene.failure = failure_behind(connection, held.run.id, scene.ended[-1])
            self._catch_up(connection, held.memory.ordinal, ordinal)
        return scene

    def _done(self, scene: Scene) -> Settled:
        """Turn what was committed into the next claim, if this worker goes on."""
        if scene.following is not None:
            return Settled(siblings.held_in(scene.following, self._held), scene.news())
        if scene.entered is None:
            return Settled(news=scene.news())
        memory = self._held.memory
        if scene.ended:
            memory.add(scene.definition, scene.ended if self._others is None else self._others)
            memory.visits[scene.entered.step] = scene.entered.visit
            memory.failure = scene.failure
        if scene.definition.mode == "transition":
            memory.ordinal = scene.ordinal
        following = Held(
            run=self._held.run,
            definition=self._held.definition,
            code=self._held.code,
            inline=self._held.inline,
            branch=scene.entered,
            memory=memory,
            lease_until=scene.entered.due_at or scene.now,
            renewed=self._renewed(scene),
        )
        return Settled(following, scene.news())

    def _renewed(self, scene: Scene) -> float:
        """Return when the lease now held was last written: an unchanged one keeps its age."""
        entered = scene.entered
        is_kept = entered is not None and entered.due_at == self._held.lease_until
        return self._held.renewed if is_kept else self._runtime.clock.monotonic()

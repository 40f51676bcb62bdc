"""The ticker's round: what nobody looked at in time is looked at now.

Bounded work per round: at most `limit` branches and `limit` cron windows.
Several tickers may run at once; every row is taken by a guarded write, and none
is waited for: what is locked is left to a later round. A round that finds
nothing is one query.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from flask_squidmesh.engine import schedule
from flask_squidmesh.engine.expire import abandon
from flask_squidmesh.engine.news import NOTHING, News, Notice, Ring, about, together
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.scene import GRACES, Scene
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import branches, dialect, ringing, runs, transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.runs import RunRow, StateRow
from flask_squidmesh.types import TickResult

logger = logging.getLogger(__name__)

UNHEARD_AFTER: Final = timedelta(seconds=1)
"""How old a message must be before an empty queue means that it was lost."""


_TAKEN_PER_SECOND: Final = 50
"""How many messages the workers take at least, as the length of the queue is understood."""


def tick(runtime: Runtime, *, limit: int, backlog: int) -> tuple[TickResult, News]:
    """Look once at everything that is due, and return what was done and what to tell.

    *backlog* is how many messages wait in the queue. While they do, those that
    were sent before are not lost, and sending them again makes it only longer.
    """
    now, due = _due(runtime, limit)
    silent = [branch for branch in due if branch.status == StepRunStatus.RUNNING]
    expired = _expire_all(runtime, silent)
    ready = [branch for branch in due if branch.status != StepRunStatus.RUNNING]
    taken, rung = _ring(runtime, now, ready, backlog=backlog)
    started, told_of_cron = schedule.fire(runtime, now, limit=limit)
    result = TickResult(due=taken, expired=len(expired), started=started)
    return result, together([*expired, rung, told_of_cron])


def expire(runtime: Runtime, *, limit: int = 500) -> int:
    """Abandon attempts whose lease has run out, without ringing; return how many."""
    _, due = _due(runtime, limit)
    return len(_expire_all(runtime, [b for b in due if b.status == StepRunStatus.RUNNING]))


def _due(runtime: Runtime, limit: int) -> tuple[datetime, list[Branch]]:
    def work(connection: transaction.Connection) -> tuple[datetime, list[Branch]]:
        at = runtime.clock.frozen_at
        if at is None and not dialect.has_time(connection):
            at = runtime.clock.now
        time, due = branches.list_due(connection, at=at, limit=limit)
        return runtime.clock.judge(time), due

    return transaction.read(runtime.database, work)


def _ring(
    runtime: Runtime, now: datetime, ready: Sequence[Branch], *, backlog: int
) -> tuple[int, News]:
    """Take what is ready, and return how many those are and the rings for them.

    A message that is likely to stand in the queue yet is not sent again: its
    row is only put off, until the queue of today would be through.
    """
    if not ready:
        return 0, NOTHING
    through_in = min(timedelta(seconds=backlog / _TAKEN_PER_SECOND), GRACES[-1])

    def work(connection: transaction.Connection) -> tuple[int, News]:
        taken = ringing.ring_all(
            connection,
            ready,
            now=now,
            again_at=[now + max(grace, through_in) for grace in GRACES],
            queued_since=now - through_in,
        )
        rung = [branch for branch in taken if not ringing.is_queued(branch, now - through_in)]
        known = runs.list_with_states(connection, [branch.run_id for branch in rung])
        told = {run.id: (run, state) for run, state in known}
        rings = tuple(_ring_for(runtime, branch, *told[branch.run_id]) for branch in rung)
        return len(taken), News(rings, tuple(_dispatched(runtime, connection, rung, told)))

    return transaction.run(runtime.database, work)


def _ring_for(runtime: Runtime, branch: Branch, run: RunRow, state: StateRow) -> Ring:
    """Return the ring for *branch*, which says whether free workers find its run by themselves."""
    begins = (
        state.status == RunStatus.PENDING
        and branch.status == StepRunStatus.PENDING
        and run.fingerprint in runtime.beginnings.with_step(branch.step)
    )
    return Ring(branch.run_id, branch.step, begins=begins)


def _dispatched(
    runtime: Runtime,
    connection: transaction.Connection,
    rung: Sequence[Branch],
    told: Mapping[str, tuple[RunRow, StateRow]],
) -> Iterator[Notice]:
    for branch in rung:
        run, state = told[branch.run_id]
        try:
            is_shared = runtime.definition(connection, run).mode == "dependency"
        except (LookupError, TypeError, ValueError):
            # Of another release, perhaps: it is rung for whoever can read it, and nobody told.
            continue
        step = None if is_shared else branch.step
        yield Notice("run_dispatched", about(run, state.status, current_step=step))


def _expire_all(runtime: Runtime, silent: Sequence[Branch]) -> list[News]:
    told = (_expire_or_leave(runtime, branch) for branch in silent)
    return [news for news in told if news is not None]


def _expire_or_leave(runtime: Runtime, seen: Branch) -> News | None:
    try:
        return _expire(runtime, seen)
    except Exception as error:
        if dialect.is_passing(error):
            raise
        # One run that this process can not read must not keep it from helping the others.
        logger.error(  # noqa: TRY400  # the text may hold a payload
            "the lost attempt of step %s in run %s can not be abandoned here: %s",
            seen.step,
            seen.run_id,
            type(error).__name__,
        )
        return None


def _expire(runtime: Runtime, seen: Branch) -> News | None:
    """Abandon an attempt whose lease has run out; None: its owner or another ticker was faster."""

    def work(connection: transaction.Connection) -> News | None:
        # Who holds the lock is at work on the run, or frozen: a ticker waits for neither.
        locked = runs.lock(connection, seen.run_id, wait=False)
        run = runs.find(connection, seen.run_id) if locked is not None else None
        if locked is None or run is None:
            return None
        now = runtime.clock.judge(locked.database_time)
        branch = branches.find_in_slot(connection, seen.run_id, seen.slot)
        if branch is None or not _is_expired(branch, seen, now):
            return None
        scene = Scene(
            runtime=runtime,
            connection=connection,
            run=run,
            definition=runtime.definition(connection, run),
            status=locked.status,
            now=now,
            branch=branch,
        )
        abandon(scene)
        return scene.news()

    return transaction.run(runtime.database, work)


def _is_expired(branch: Branch, seen: Branch, now: datetime) -> bool:
    return (
        branch.fencing_token == seen.fencing_token
        and branch.status == seen.status
        and branch.due_at is not None
        and branch.due_at <= now
    )


def overdue(runtime: Runtime, *, limit: int) -> tuple[Ring, ...]:
    """Take ready steps whose message is older than a second, for a queue found empty.

    They count as rung now, so that of several tickers one rings each.
    """

    def work(connection: transaction.Connection) -> tuple[datetime, list[Branch]]:
        now = runtime.clock.judge(dialect.time(connection))
        unheard = branches.list_unheard(
            connection, now=now, rung_before=now - UNHEARD_AFTER, limit=limit
        )
        return now, unheard

    now, unheard = transaction.read(runtime.database, work)
    _, news = _ring(runtime, now, unheard, backlog=0)
    return news.rings


def list_ready(runtime: Runtime, *, limit: int) -> list[Ring]:
    """Return steps that may be claimed now, in the order they became ready."""

    def work(connection: transaction.Connection) -> list[Ring]:
        now = runtime.clock.judge(dialect.time(connection))
        ready = branches.list_ready(connection, now=now, limit=limit)
        return [Ring(run_id, step) for run_id, step in ready]

    return transaction.read(runtime.database, work)


def next_moment(runtime: Runtime) -> datetime | None:
    """Return when the next timer, retry or lease ends; None when nothing waits for time."""
    return transaction.read(runtime.database, branches.next_moment)

"""The ticker's round: what nobody looked at in time is looked at now.

Bounded work per round: at most `limit` branches and `limit` cron windows.
Several tickers may run at once; every row is taken by a guarded write. A round
that finds nothing is one query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from flask_squidmesh.engine import schedule
from flask_squidmesh.engine.expire import abandon
from flask_squidmesh.engine.news import NOTHING, News, Notice, Ring, together
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.scene import GRACES, Scene
from flask_squidmesh.lifecycle.states import StepRunStatus
from flask_squidmesh.store import branches, dialect, runs, transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.types import TickResult

UNHEARD_AFTER: Final = timedelta(seconds=1)
"""How old a message must be before an empty queue means that it was lost."""


def tick(runtime: Runtime, *, limit: int) -> tuple[TickResult, News]:
    """Look once at everything that is due, and return what was done and what to tell."""
    now, due = _due(runtime, limit)
    silent = [branch for branch in due if branch.status == StepRunStatus.RUNNING]
    rung = _ring(runtime, now, [branch for branch in due if branch not in silent])
    told = [rung, *_expire_all(runtime, silent)]
    started, told_of_cron = schedule.fire(runtime, now, limit=limit)
    result = TickResult(due=len(rung.rings), expired=len(told) - 1, started=started)
    return result, together([*told, told_of_cron])


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


def _ring(runtime: Runtime, now: datetime, ready: Sequence[Branch]) -> News:
    if not ready:
        return NOTHING

    def work(connection: transaction.Connection) -> News:
        rung = [
            branch
            for branch in ready
            if branches.ring(
                connection,
                branch,
                now=now,
                again_at=now + GRACES[min(branch.resends, len(GRACES) - 1)],
            )
        ]
        rings = tuple(Ring(branch.run_id, branch.step) for branch in rung)
        return News(rings, tuple(_dispatched(runtime, connection, rung)))

    return transaction.run(runtime.database, work)


def _dispatched(
    runtime: Runtime, connection: transaction.Connection, rung: Sequence[Branch]
) -> Iterator[Notice]:
    known = runs.list_with_states(connection, [branch.run_id for branch in rung])
    by_id = {run.id: (run, state) for run, state in known}
    for branch in rung:
        run, state = by_id[branch.run_id]
        is_shared = runtime.definition(connection, run).mode == "dependency"
        values = {
            "run_id": run.id,
            "workflow": run.workflow,
            "trigger": run.trigger,
            "status": state.status.value,
            "current_step": None if is_shared else branch.step,
        }
        yield Notice("run_dispatched", values)


def _expire_all(runtime: Runtime, silent: Sequence[Branch]) -> list[News]:
    told = (_expire(runtime, branch) for branch in silent)
    return [news for news in told if news is not None]


def _expire(runtime: Runtime, seen: Branch) -> News | None:
    """Abandon an attempt whose lease has run out; None: its owner or another ticker was faster."""

    def work(connection: transaction.Connection) -> News | None:
        locked = runs.lock(connection, seen.run_id)
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
    return _ring(runtime, now, unheard).rings


def list_ready(runtime: Runtime, *, limit: int) -> list[Ring]:
    """Return steps that may be claimed now, in the order they became ready."""

    def work(connection: transaction.Connection) -> list[Branch]:
        now = runtime.clock.judge(dialect.time(connection))
        return branches.list_ready(connection, now=now, limit=limit)

    return [Ring(found.run_id, found.step) for found in transaction.read(runtime.database, work)]


def next_moment(runtime: Runtime) -> datetime | None:
    """Return when the next timer, retry or lease ends; None when nothing waits for time."""
    return transaction.read(runtime.database, branches.next_moment)

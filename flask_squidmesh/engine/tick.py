"""The ticker's round: what nobody looked at in time is looked at now.

Bounded work per round: at most `limit` leases and `limit` rings. Several
tickers may run at once; every row is taken by a guarded write.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from flask_squidmesh.engine.expire import abandon
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.scene import GRACES, Scene
from flask_squidmesh.store import branches, dialect, runs, transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.types import TickResult

UNHEARD_AFTER: Final = timedelta(seconds=1)
"""How old a message must be before an empty queue means that it was lost."""


def tick(runtime: Runtime, *, limit: int) -> tuple[TickResult, News]:
    """Look once at everything that is due, and return what was done and what to tell."""
    due, expired = transaction.run(runtime.database, lambda c: _look(runtime, c, limit))
    news = [News(rings=tuple(Ring(run_id, step) for run_id, step in due))]
    abandoned = 0
    for branch in expired:
        told = _expire(runtime, branch)
        if told is not None:
            abandoned += 1
            news.append(told)
    return TickResult(due=len(due), expired=abandoned), _together(news)


def expire(runtime: Runtime, *, limit: int = 500) -> int:
    """Abandon attempts whose lease has run out, without ringing; return how many."""

    def work(connection: transaction.Connection) -> list[Branch]:
        now = runtime.clock.judge(dialect.time(connection))
        return branches.list_expired(connection, now=now, limit=limit)

    expired = transaction.read(runtime.database, work)
    return sum(_expire(runtime, branch) is not None for branch in expired)


def _look(
    runtime: Runtime, connection: transaction.Connection, limit: int
) -> tuple[list[tuple[str, str]], list[Branch]]:
    now = runtime.clock.judge(dialect.time(connection))
    due = branches.ring_due(connection, now=now, graces=GRACES, limit=limit)
    return due, branches.list_expired(connection, now=now, limit=limit)


def _expire(runtime: Runtime, seen: Branch) -> News | None:
    """Abandon an attempt whose lease has run out; None: its owner or another ticker was faster."""

    def work(connection: transaction.Connection) -> News | None:
        locked = runs.lock(connection, seen.run_id)
        run = runs.find(connection, seen.run_id) if locked is not None else None
        if locked is None or run is None:
            return None
        now = runtime.clock.judge(locked.database_time)
        branch = branches.find(connection, seen.run_id, seen.step)
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


def _together(parts: list[News]) -> News:
    return News(
        tuple(ring for part in parts for ring in part.rings),
        tuple(notice for part in parts for notice in part.notices),
    )


def overdue(runtime: Runtime, *, limit: int) -> tuple[Ring, ...]:
    """Return ready steps whose message is older than a second, for a queue found empty."""

    def work(connection: transaction.Connection) -> list[tuple[str, str]]:
        now = runtime.clock.judge(dialect.time(connection))
        return branches.list_unheard(
            connection, now=now, rung_before=now - UNHEARD_AFTER, limit=limit
        )

    found = transaction.read(runtime.database, work)
    return tuple(Ring(run_id, step) for run_id, step in found)


def list_ready(runtime: Runtime, *, limit: int) -> list[Ring]:
    """Return steps that may be claimed now, in the order they became ready."""

    def work(connection: transaction.Connection) -> list[Branch]:
        now = runtime.clock.judge(dialect.time(connection))
        return branches.list_ready(connection, now=now, limit=limit)

    return [Ring(found.run_id, found.step) for found in transaction.read(runtime.database, work)]


def next_moment(runtime: Runtime) -> datetime | None:
    """Return when the next timer, retry or lease ends; None when nothing waits for time."""
    return transaction.read(runtime.database, branches.next_moment)

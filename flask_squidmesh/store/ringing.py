"""Ringing for many branches at once: what a ticker's round writes.

Touches only `due_at`, `rung_at` and `resends`, which nobody else judges by; that
is why it needs not take the runs' locks. It waits for no lock either.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import STEP_RUN, StepRunEvent, sources
from flask_squidmesh.store import dialect
from flask_squidmesh.store.branches import Branch, due_as_seen, ring
from flask_squidmesh.store.models import UtcDateTime, branches

_READY: Final = sources(STEP_RUN, StepRunEvent.CLAIM)


def ring_all(
    connection: sa.Connection,
    seen: Sequence[Branch],
    *,
    now: datetime,
    again_at: Sequence[datetime],
    queued_since: datetime,
) -> list[Branch]:
    """Note that ready step runs are rung now, and return those that nobody else takes.

    Of one that was rung *n* times again already, the next time is `again_at[n]`.
    One that was rung after *queued_since* is only put off: its message is
    believed to be in the queue, and so it counts as rung then.

    Waits for no lock, see `lock_free`; so the order of rows does not matter.
    """
    if connection.dialect.update_returning:
        taken = _ring_in_one_statement(connection, seen, now, again_at, queued_since)
        return [branch for branch in seen if (branch.run_id, branch.slot) in taken]
    last = len(again_at) - 1
    return [
        branch
        for branch in lock_free(connection, seen)
        if ring(
            connection,
            branch,
            now=branch.rung_at if is_queued(branch, queued_since) else now,
            again_at=again_at[min(branch.resends, last)],
        )
    ]


def is_queued(branch: Branch, since: datetime) -> bool:
    """Return whether the step run was rung after *since*."""
    return branch.rung_at is not None and branch.rung_at > since


def _ring_in_one_statement(
    connection: sa.Connection,
    seen: Sequence[Branch],
    now: datetime,
    again_at: Sequence[datetime],
    queued_since: datetime,
) -> set[tuple[str, int]]:
    place = sa.tuple_(branches.c.run_id, branches.c.slot)
    as_seen = sa.tuple_(branches.c.run_id, branches.c.slot, due_as_seen())
    free = (
        sa.select(branches.c.run_id, branches.c.slot)
        .where(
            as_seen.in_([(branch.run_id, branch.slot, branch.due_at) for branch in seen]),
            branches.c.status.in_(_READY),
        )
        .with_for_update(skip_locked=True)
    )
    next_times = dict(enumerate(_time(moment) for moment in again_at[:-1]))
    statement = (
        sa.update(branches)
        .where(place.in_(free))
        .values(
            due_at=sa.case(next_times, value=branches.c.resends, else_=_time(again_at[-1])),
            rung_at=sa.case(
                (branches.c.rung_at > queued_since, branches.c.rung_at), else_=_time(now)
            ),
            resends=branches.c.resends + 1,
        )
        .returning(branches.c.run_id, branches.c.slot)
    )
    return {(row[0], row[1]) for row in connection.execute(statement)}


def _time(moment: datetime) -> sa.ColumnElement[Any]:
    return sa.literal(moment, UtcDateTime)


def lock_free(connection: sa.Connection, wanted: Sequence[Branch]) -> list[Branch]:
    """Lock those of *wanted* that nobody else has locked, and return them.

    Whoever has may be frozen in the middle of a transaction, and would hold up
    everything that waits for it.
    """
    if not dialect.locks_rows(connection):
        return list(wanted)
    place = sa.tuple_(branches.c.run_id, branches.c.slot)
    query = (
        sa.select(branches.c.run_id, branches.c.slot)
        .where(place.in_([(branch.run_id, branch.slot) for branch in wanted]))
        .with_for_update(skip_locked=True)
    )
    free = {(row[0], row[1]) for row in connection.execute(query)}
    return [branch for branch in wanted if (branch.run_id, branch.slot) in free]

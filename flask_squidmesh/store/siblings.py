"""The other branches of a run that wait for a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import StepRunStatus
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.models import branches

_COLUMNS: Final = tuple(branches.c[f.name] for f in fields(Branch))


def _branch(row: Sequence[Any]) -> Branch:
    values = dict(zip((column.name for column in _COLUMNS), row, strict=True))
    return Branch(**{**values, "status": StepRunStatus(values["status"])})


@cache
def _pending(*, excluding: bool, unrung: bool) -> sa.Select[Any]:
    query = sa.select(*_COLUMNS).where(
        branches.c.run_id == sa.bindparam("run_id"),
        branches.c.slot > sa.bindparam("after"),
        branches.c.status == StepRunStatus.PENDING.value,
    )
    if excluding:
        query = query.where(branches.c.step.not_in(sa.bindparam("excluded", expanding=True)))
    if unrung:
        query = query.where(branches.c.rung_at.is_(None))
    return query.order_by(branches.c.slot).limit(1)


def find_pending(
    connection: sa.Connection,
    run_id: str,
    *,
    after: int,
    excluded: Sequence[str] = (),
    unrung: bool = False,
) -> Branch | None:
    """Return the branch that waits for its first attempt in the next slot after *after*.

    Beyond the last slot the search goes on at the first. *excluded* are steps
    to pass over; with *unrung* also those for which a message was sent.
    """
    query = _pending(excluding=bool(excluded), unrung=unrung)
    for start in (after, -1):
        values: dict[str, Any] = {"run_id": run_id, "after": start}
        if excluded:
            values["excluded"] = list(excluded)
        row = connection.execute(query, values).one_or_none()
        if row is not None:
            return _branch(row)
    return None


def list_claimed(connection: sa.Connection, run_id: str, worker: str) -> list[Branch]:
    """Return the branches of the run that *worker* has claimed."""
    query = sa.select(*_COLUMNS).where(
        branches.c.run_id == run_id,
        branches.c.status == StepRunStatus.RUNNING.value,
        branches.c.worker == worker,
    )
    return [_branch(row) for row in connection.execute(query)]

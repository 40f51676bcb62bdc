"""Branches: the active step runs, one narrow row each.

Every write is guarded by the fencing token and the status the caller saw, and
matches one row or did not happen. Callers name an event of the step-run table;
the status it leads to is looked up there.

The ticker's bulk statements touch only `due_at`, `rung_at` and `resends`, which
nobody else judges by; that is why they need not take the run's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import STEP_RUN, StepRunEvent, StepRunStatus, sources
from flask_squidmesh.store import dialect
from flask_squidmesh.store.models import UtcDateTime, branches


@dataclass(frozen=True, slots=True)
class Branch:
    """An active step run.

    `attempt` is the number of the current or latest attempt (0: none yet),
    `lost` how many attempts lost their worker. `ready_at` is when the step may
    be claimed, `due_at` when the ticker must act (for a running step: the end
    of the lease), `rung_at` when a message was last sent.
    """

    run_id: str
    slot: int
    step: str
    visit: int
    status: StepRunStatus
    attempt: int
    lost: int
    fencing_token: int
    horizon: int
    resends: int
    created_at: datetime
    ready_at: datetime
    due_at: datetime | None
    rung_at: datetime | None
    started_at: datetime | None
    touched_at: datetime
    worker: str | None


_NAMES: Final = tuple(f.name for f in fields(Branch))
_COLUMNS: Final = tuple(branches.c[name] for name in _NAMES)
_READY: Final = sources(STEP_RUN, StepRunEvent.CLAIM)
"""The statuses in which a step run waits for a worker."""

_HERE = sa.and_(
    branches.c.run_id == sa.bindparam("old_run_id"),
    branches.c.slot == sa.bindparam("old_slot"),
    branches.c.fencing_token == sa.bindparam("old_token"),
    branches.c.status == sa.bindparam("old_status"),
)
_PUT = (
    sa.update(branches)
    .where(_HERE)
    .values({name: sa.bindparam(name) for name in _NAMES if name not in ("run_id", "slot")})
)
_DELETE = sa.delete(branches).where(_HERE)
_INSERT = sa.insert(branches)
_RENEW = (
    sa.update(branches)
    .where(_HERE)
    .values(due_at=sa.bindparam("due_at"), touched_at=sa.bindparam("touched_at"))
)
_BY_STEP = sa.select(*_COLUMNS).where(
    branches.c.run_id == sa.bindparam("run_id"), branches.c.step == sa.bindparam("step")
)
_BY_SLOT = sa.select(*_COLUMNS).where(
    branches.c.run_id == sa.bindparam("run_id"), branches.c.slot == sa.bindparam("slot")
)
_OF_RUN = (
    sa.select(*_COLUMNS)
    .where(branches.c.run_id == sa.bindparam("run_id"))
    .order_by(branches.c.horizon, branches.c.slot)
)
_MOVING = (
    sa.select(sa.literal(1))
    .where(
        branches.c.run_id == sa.bindparam("run_id"),
        branches.c.slot != sa.bindparam("slot"),
        branches.c.status != StepRunStatus.RETRYING.value,
    )
    .limit(1)
)
_RETRYING = (
    sa.select(sa.literal(1))
    .where(branches.c.run_id == sa.bindparam("run_id"), branches.c.slot != sa.bindparam("slot"))
    .limit(1)
)


def _branch(row: Sequence[Any]) -> Branch:
    found = Branch(*row)
    return replace(found, status=StepRunStatus(found.status))


def _values(branch: Branch) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(branch, name) for name in _NAMES}
    values["status"] = branch.status.value
    return values


def _guard(branch: Branch) -> dict[str, Any]:
    return {
        "old_run_id": branch.run_id,
        "old_slot": branch.slot,
        "old_token": branch.fencing_token,
        "old_status": branch.status.value,
    }


def insert(connection: sa.Connection, new: Sequence[Branch]) -> None:
    """Insert branches that begin."""
    connection.execute(_INSERT, [_values(branch) for branch in new])


def move(
    connection: sa.Connection, branch: Branch, event: StepRunEvent, **changes: Any
) -> Branch | None:
    """Carry *event* out on the step run and return it; None means that the lease is gone."""
    new = replace(branch, status=STEP_RUN[(branch.status, event)], **changes)
    return new if _put(connection, branch, new) else None


def restart(connection: sa.Connection, branch: Branch, **changes: Any) -> Branch | None:
    """Begin the next attempt without giving the step run up: `RETRY` and `CLAIM` in one write."""
    retrying = STEP_RUN[(branch.status, StepRunEvent.RETRY)]
    new = replace(branch, status=STEP_RUN[(retrying, StepRunEvent.CLAIM)], **changes)
    return new if _put(connection, branch, new) else None


def repoint(connection: sa.Connection, branch: Branch, new: Branch) -> bool:
    """Go on from one step run to the next; False means that the lease is gone."""
    return _put(connection, branch, new)


def remove(connection: sa.Connection, branch: Branch) -> bool:
    """End the branch; False means that the lease is gone."""
    return connection.execute(_DELETE, _guard(branch)).rowcount == 1


def _put(connection: sa.Connection, old: Branch, new: Branch) -> bool:
    values = _values(new)
    del values["run_id"], values["slot"]
    return connection.execute(_PUT, {**values, **_guard(old)}).rowcount == 1


def renew(connection: sa.Connection, branch: Branch, *, until: datetime, now: datetime) -> bool:
    """Extend the lease to *until*; False means that the token is no longer current."""
    values = {"due_at": until, "touched_at": now, **_guard(branch)}
    return connection.execute(_RENEW, values).rowcount == 1


def find(connection: sa.Connection, run_id: str, step: str, *, slot: int) -> Branch | None:
    """Return the branch that stands at *step*, which is looked for in *slot* first.

    Elsewhere it is only after it went on inline, and looking there costs more
    the more branches the run has.
    """
    found = find_in_slot(connection, run_id, slot)
    if found is not None and found.step == step:
        return found
    row = connection.execute(_BY_STEP, {"run_id": run_id, "step": step}).one_or_none()
    return None if row is None else _branch(row)


def find_in_slot(connection: sa.Connection, run_id: str, slot: int) -> Branch | None:
    """Return the branch in this slot of the run."""
    row = connection.execute(_BY_SLOT, {"run_id": run_id, "slot": slot}).one_or_none()
    return None if row is None else _branch(row)


def of_run(connection: sa.Connection, run_id: str) -> list[Branch]:
    """Return the run's branches in the order their step runs became ready."""
    return [_branch(row) for row in connection.execute(_OF_RUN, {"run_id": run_id})]


def steps_of(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Return where each run stands, for runs with one branch at most."""
    query = _steps(connection.dialect.name)
    return {row[0]: row[1] for row in connection.execute(query, {"run_ids": list(run_ids)})}


@cache
def _steps(name: str) -> sa.Select[Any]:
    return sa.select(branches.c.run_id, branches.c.step).where(
        dialect.is_among(name, branches.c.run_id, "run_ids")
    )


def has_moving_others(connection: sa.Connection, branch: Branch) -> bool:
    """Return whether the run has another branch that is not waiting for a retry."""
    at = {"run_id": branch.run_id, "slot": branch.slot}
    return connection.execute(_MOVING, at).first() is not None


def has_others(connection: sa.Connection, branch: Branch) -> bool:
    """Return whether the run has another branch."""
    at = {"run_id": branch.run_id, "slot": branch.slot}
    return connection.execute(_RETRYING, at).first() is not None


def list_due(
    connection: sa.Connection, *, at: datetime | None, limit: int
) -> tuple[datetime | None, list[Branch]]:
    """Return the time, and up to *limit* branches that are due by then, longest first.

    Leases that have run out come before everything else: somebody died, and
    that must be seen also while very many timers end. One statement, since
    every idle process asks it all the time, and of two parts that both end at
    the limit, each along an index, however much is due. The time is *at*; when
    that is None, the database's.
    """
    statement = _due_statement(None if at is not None else connection.dialect.name)
    rows = connection.execute(statement, {"at": at, "most": limit}).all()
    return dialect.aware(rows[0][0]), [_branch(row[1:]) for row in rows if row[1] is not None]


@cache
def _due_statement(dialect_with_time: str | None) -> sa.Select[Any]:
    told = sa.bindparam("at", type_=UtcDateTime)
    time = told if dialect_with_time is None else dialect.time_column(dialect_with_time)
    moment = sa.select(time.label("moment")).cte("moment")
    now = sa.select(moment.c.moment).scalar_subquery()
    # Written out: a plan for any status could not use the index of those that run.
    is_running = branches.c.status == sa.literal_column(f"'{StepRunStatus.RUNNING.value}'")
    parts = [
        sa.select(*_COLUMNS, sa.literal_column(str(place)).label("place"))
        .where(branches.c.due_at <= now, condition)
        .order_by(branches.c.due_at)
        .limit(sa.bindparam("most"))
        .subquery(f"part_{place}")
        for place, condition in enumerate((is_running, sa.not_(is_running)))
    ]
    due = sa.union_all(*(sa.select(part) for part in parts)).subquery("due")
    return (
        sa.select(moment.c.moment, *(due.c[name] for name in _NAMES))
        .select_from(sa.outerjoin(moment, due, sa.true()))
        .order_by(due.c.place, due.c.due_at)
        .limit(sa.bindparam("most"))
    )


def ring(
    connection: sa.Connection, branch: Branch, *, now: datetime | None, again_at: datetime
) -> bool:
    """Note that a ready step run is rung now and next at *again_at*; False: it was not due.

    Guarded by the time that was due, since another ticker may have been here.
    """
    values = {
        "rung_run_id": branch.run_id,
        "rung_slot": branch.slot,
        "was_due_at": branch.due_at,
        "due_at": again_at,
        "rung_at": now,
    }
    return connection.execute(_RING, values).rowcount == 1


def due_as_seen() -> sa.ColumnElement[datetime]:
    """Return the time a row is due, for conditions on rows that are found by their key.

    As an expression no index knows it. While statistics are older than a burst
    of timers, PostgreSQL takes the index of this time for the shortest way to a
    row, and looks at everything that is due.
    """
    return sa.func.coalesce(branches.c.due_at, branches.c.due_at)


_RING = (
    sa.update(branches)
    .where(
        branches.c.run_id == sa.bindparam("rung_run_id"),
        branches.c.slot == sa.bindparam("rung_slot"),
        due_as_seen() == sa.bindparam("was_due_at"),
        branches.c.status.in_(_READY),
    )
    .values(
        due_at=sa.bindparam("due_at"),
        rung_at=sa.bindparam("rung_at"),
        resends=branches.c.resends + 1,
    )
)


def put_off(connection: sa.Connection, branch: Branch, *, until: datetime) -> bool:
    """Note that a ready step run was heard of and can not be executed here before *until*."""
    values = {
        "rung_run_id": branch.run_id,
        "rung_slot": branch.slot,
        "was_due_at": branch.due_at,
        "due_at": until,
        "rung_at": None,
    }
    return connection.execute(_RING, values).rowcount == 1


def list_ready(connection: sa.Connection, *, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Return run and step of what may be claimed now, in the order it became ready."""
    query = (
        sa.select(branches.c.run_id, branches.c.step)
        .where(
            branches.c.status.in_(_READY),
            sa.or_(branches.c.status == StepRunStatus.PENDING.value, branches.c.ready_at <= now),
        )
        # Within one moment, as it stands while a clock is frozen: what has come less far first.
        .order_by(
            branches.c.ready_at,
            branches.c.horizon + branches.c.attempt,
            branches.c.run_id,
            branches.c.slot,
        )
        .limit(limit)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def next_moment(connection: sa.Connection) -> datetime | None:
    """Return when the next timer, retry or lease ends; None when nothing waits for time."""
    timed = (StepRunStatus.WAITING, StepRunStatus.RETRYING, StepRunStatus.RUNNING)
    moment = sa.case(
        (branches.c.status == StepRunStatus.RUNNING.value, branches.c.due_at),
        else_=branches.c.ready_at,
    )
    query = sa.select(moment).where(branches.c.status.in_(timed)).order_by(moment).limit(1)
    found: datetime | None = connection.execute(query).scalar()
    return found


def list_unheard(
    connection: sa.Connection, *, now: datetime, rung_before: datetime, limit: int
) -> list[Branch]:
    """Return ready step runs whose message was sent before *rung_before*."""
    query = (
        sa.select(*_COLUMNS)
        .where(
            branches.c.due_at > now,
            branches.c.status.in_(_READY),
            branches.c.ready_at <= now,
            branches.c.rung_at <= rung_before,
        )
        .order_by(branches.c.due_at)
        .limit(limit)
    )
    return [_branch(row) for row in connection.execute(query)]

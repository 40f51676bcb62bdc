"""Runs: what was asked (`runs`, never changed) and where it stands (`run_states`).

The row in `run_states` is the run's lock: every transaction about a run takes
it first, before any branch. On SQLite, which has no row locks, an UPDATE that
changes nothing takes the database's write lock in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import RUN, RunEvent, RunStatus, sources, target, terminal
from flask_squidmesh.store import dialect
from flask_squidmesh.store.models import run_states, runs


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it was asked for; documents are encoded JSON."""

    id: str
    workflow: str
    fingerprint: str
    trigger: str
    payload: str
    schedule: str | None
    cron_window: datetime | None
    idempotency_key: str | None
    request_digest: str | None
    replayed_from_run_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StateRow:
    """Where a run stands."""

    status: RunStatus
    last_error: str | None
    updated_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Locked:
    """A run's lock, held until the transaction ends."""

    status: RunStatus
    database_time: datetime | None


_RUN_COLUMNS = tuple(runs.c[name] for name in RunRow.__slots__)
_STATE_COLUMNS = tuple(run_states.c[name] for name in StateRow.__slots__)
_BY_ID = sa.select(*_RUN_COLUMNS).where(runs.c.id == sa.bindparam("run_id"))
_INSERT_STATE = sa.insert(run_states)
_TERMINAL = frozenset(terminal(RUN))


@cache
def _lock_statement(name: str, *, wait: bool = True) -> sa.Executable:
    here = run_states.c.run_id == sa.bindparam("locked_run_id")
    if name == "sqlite":
        return (
            sa.update(run_states)
            .where(here)
            .values(updated_at=run_states.c.updated_at)
            .returning(run_states.c.status, dialect.time_column(name))
        )
    query = sa.select(run_states.c.status, dialect.time_column(name)).where(here)
    return query.with_for_update(skip_locked=not wait)


@cache
def _move_statement(event: RunEvent) -> sa.Update:
    return (
        sa.update(run_states)
        .where(
            run_states.c.run_id == sa.bindparam("moved_run_id"),
            run_states.c.status.in_(sources(RUN, event)),
        )
        .values(
            status=target(RUN, event).value,
            last_error=sa.bindparam("error"),
            updated_at=sa.bindparam("now"),
            finished_at=sa.bindparam("finished"),
        )
    )


def insert(connection: sa.Connection, run: RunRow) -> bool:
    """Insert *run* as pending; False means that its key or its cron window exists already."""
    values = {name: getattr(run, name) for name in RunRow.__slots__}
    done = connection.execute(dialect.insert_if_absent(connection, runs), values)
    if done.rowcount != 1:
        return False
    connection.execute(
        _INSERT_STATE,
        {
            "run_id": run.id,
            "status": RunStatus.PENDING.value,
            "created_at": run.created_at,
            "updated_at": run.created_at,
            "workflow": run.workflow,
            "trigger": run.trigger,
        },
    )
    return True


def lock(connection: sa.Connection, run_id: str, *, wait: bool = True) -> Locked | None:
    """Take the run's lock and return its status and the database's time; None: no such run.

    Without *wait*, None also means that somebody else holds the lock, on
    databases that lock single rows.
    """
    statement = _lock_statement(connection.dialect.name, wait=wait)
    row = connection.execute(statement, {"locked_run_id": run_id}).one_or_none()
    return None if row is None else Locked(RunStatus(row[0]), dialect.aware(row[1]))


def move(
    connection: sa.Connection, run_id: str, event: RunEvent, *, now: datetime, error: str | None
) -> bool:
    """Carry *event* out on the run; False means that its status does not allow it."""
    finished = now if target(RUN, event) in _TERMINAL else None
    values = {"moved_run_id": run_id, "error": error, "now": now, "finished": finished}
    return connection.execute(_move_statement(event), values).rowcount == 1


def find(connection: sa.Connection, run_id: str) -> RunRow | None:
    """Return the run as it was asked for."""
    row = connection.execute(_BY_ID, {"run_id": run_id}).one_or_none()
    return None if row is None else RunRow(*row)


def find_by_key(connection: sa.Connection, workflow: str, key: str) -> RunRow | None:
    """Return the run that holds an idempotency key of *workflow*."""
    row = connection.execute(
        sa.select(*_RUN_COLUMNS).where(runs.c.workflow == workflow, runs.c.idempotency_key == key)
    ).one_or_none()
    return None if row is None else RunRow(*row)


def find_by_window(
    connection: sa.Connection, workflow: str, trigger: str, window: datetime
) -> RunRow | None:
    """Return the run that was started for a window of a cron trigger."""
    row = connection.execute(
        sa.select(*_RUN_COLUMNS).where(
            runs.c.workflow == workflow, runs.c.trigger == trigger, runs.c.cron_window == window
        )
    ).one_or_none()
    return None if row is None else RunRow(*row)


def find_with_state(connection: sa.Connection, run_id: str) -> tuple[RunRow, StateRow] | None:
    """Return the run and where it stands."""
    row = connection.execute(with_state().where(runs.c.id == run_id)).one_or_none()
    return None if row is None else split(row)


def list_with_states(
    connection: sa.Connection, run_ids: Sequence[str]
) -> list[tuple[RunRow, StateRow]]:
    """Return several runs and where they stand, in no particular order."""
    if not run_ids:
        return []
    found = connection.execute(_these(connection.dialect.name), {"ids": list(run_ids)})
    return [split(row) for row in found.all()]


@cache
def _these(name: str) -> sa.Select[Any]:
    return with_state().where(dialect.is_among(name, runs.c.id, "ids"))


def list_between(
    connection: sa.Connection, lowest: str, highest: str, *, limit: int
) -> list[tuple[RunRow, StateRow]]:
    """Return up to *limit* runs with ids from *lowest* to *highest*, newest first."""
    query = with_state().where(runs.c.id >= lowest, runs.c.id <= highest)
    query = query.order_by(runs.c.id.desc()).limit(limit)
    return [split(row) for row in connection.execute(query)]


def with_state() -> sa.Select[Any]:
    """Return the query for runs and where they stand; `split` reads its rows."""
    return sa.select(*_RUN_COLUMNS, *_STATE_COLUMNS).join(
        run_states, run_states.c.run_id == runs.c.id
    )


def split(row: Sequence[Any]) -> tuple[RunRow, StateRow]:
    """Return the run and the state in a row of `with_state`."""
    width = len(_RUN_COLUMNS)
    status, *rest = row[width:]
    return RunRow(*row[:width]), StateRow(RunStatus(status), *rest)

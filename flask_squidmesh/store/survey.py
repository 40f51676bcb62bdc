"""What the database says about itself and about the work in it, for `flask squidmesh check`.

Reads only, and asks nothing that a running application asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import RUN, STEP_RUN, StepRunEvent, active, sources
from flask_squidmesh.store.models import METADATA, UtcDateTime, branches, run_states, runs

_READY: Final = sources(STEP_RUN, StepRunEvent.CLAIM)
_UNFINISHED: Final = active(RUN)


@dataclass(frozen=True, slots=True)
class ReadyRow:
    """Steps of one definition that wait for a worker; `since` is when the first became ready."""

    workflow: str
    fingerprint: str
    step: str
    count: int
    since: datetime


def missing_parts(connection: sa.Connection) -> tuple[list[str], list[str]]:
    """Return our tables that are not there, and the columns that those that are there lack."""
    inspector = sa.inspect(connection)
    tables: list[str] = []
    columns: list[str] = []
    for table in METADATA.sorted_tables:
        if not inspector.has_table(table.name):
            tables.append(table.name)
            continue
        present = {column["name"] for column in inspector.get_columns(table.name)}
        columns += [f"{table.name}.{name}" for name in table.columns.keys() if name not in present]  # noqa: SIM118  # not a dict
    return tables, columns


def journal_mode(connection: sa.Connection) -> str | None:
    """Return how SQLite keeps its journal (`"wal"`, `"delete"` ...), None for other databases."""
    if connection.dialect.name != "sqlite":
        return None
    return str(connection.scalar(sa.text("PRAGMA journal_mode"))).lower()


def is_autocommit(engine: sa.Engine) -> bool:
    """Return whether every statement of the host's is its own transaction, unless it asks."""
    if engine.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return True
    with engine.connect() as connection:
        # Of SQLite's driver only the newest has the attribute, where -1 stands for the old way.
        return getattr(connection.connection.dbapi_connection, "autocommit", False) is True


def is_in_memory(engine: sa.Engine) -> bool:
    """Return whether the database ends with this process."""
    if engine.dialect.name != "sqlite":
        return False
    database = engine.url.database or ""
    return database in ("", ":memory:") or "mode=memory" in engine.url.render_as_string()


def address(engine: sa.Engine) -> str:
    """Return the database's URL with its password hidden."""
    return engine.url.render_as_string(hide_password=True)


def count_unfinished(connection: sa.Connection) -> dict[str, int]:
    """Return the number of runs that are not over, by workflow."""
    query = (
        sa.select(runs.c.workflow, sa.func.count())
        .join(run_states, run_states.c.run_id == runs.c.id)
        .where(run_states.c.status.in_(_UNFINISHED))
        .group_by(runs.c.workflow)
        .order_by(runs.c.workflow)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def list_ready_since(connection: sa.Connection, *, before: datetime) -> Sequence[ReadyRow]:
    """Return the steps that became ready before *before* and that nobody has claimed."""
    since = sa.func.min(branches.c.ready_at, type_=UtcDateTime)
    query = (
        sa.select(runs.c.workflow, runs.c.fingerprint, branches.c.step, sa.func.count(), since)
        .join(runs, runs.c.id == branches.c.run_id)
        .where(branches.c.status.in_(_READY), branches.c.ready_at <= before)
        .group_by(runs.c.workflow, runs.c.fingerprint, branches.c.step)
        .order_by(since)
    )
    return [ReadyRow(*row) for row in connection.execute(query)]


def longest_due(connection: sa.Connection) -> datetime | None:
    """Return the earliest time at which a ticker was to look at something, None without one."""
    found: datetime | None = connection.scalar(
        sa.select(sa.func.min(branches.c.due_at, type_=UtcDateTime))
    )
    return found

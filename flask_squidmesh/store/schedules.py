"""Cron triggers as this application knows them, and the windows they have started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from flask_squidmesh.store import dialect
from flask_squidmesh.store.models import schedules


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A cron trigger; `next_at` is its next window, `last_window` the latest that was started."""

    workflow: str
    trigger: str
    expression: str
    timezone: str
    catch_up: str
    next_at: datetime
    last_window: datetime | None
    created_at: datetime


_NAMES: Final = tuple(f.name for f in fields(ScheduleRow))
_ALL = sa.select(*(schedules.c[name] for name in _NAMES)).where(
    schedules.c.workflow.in_(sa.bindparam("workflows", expanding=True))
)


def put(connection: sa.Connection, row: ScheduleRow) -> bool:
    """Store a trigger that is new to this database; False means that it is not."""
    values = {name: getattr(row, name) for name in _NAMES}
    return connection.execute(dialect.insert_if_absent(connection, schedules), values).rowcount == 1


def list_all(connection: sa.Connection, workflows: Sequence[str]) -> list[ScheduleRow]:
    """Return the stored triggers of *workflows*."""
    rows = connection.execute(_ALL, {"workflows": list(workflows)})
    return [ScheduleRow(*row) for row in rows]


def advance(
    connection: sa.Connection, row: ScheduleRow, *, next_at: datetime, last_window: datetime | None
) -> bool:
    """Move the trigger on to its next window; False means that another ticker did, or does."""
    return (
        _is_free(connection, row)
        and connection.execute(
            sa.update(schedules)
            .where(
                schedules.c.workflow == row.workflow,
                schedules.c.trigger == row.trigger,
                schedules.c.next_at == row.next_at,
                schedules.c.expression == row.expression,
                schedules.c.timezone == row.timezone,
            )
            .values(next_at=next_at, last_window=last_window)
        ).rowcount
        == 1
    )


def redeclare(connection: sa.Connection, row: ScheduleRow, new: ScheduleRow) -> bool:
    """Follow a changed declaration of a trigger; False means that another process did, or does."""
    return (
        _is_free(connection, row)
        and connection.execute(
            sa.update(schedules)
            .where(
                schedules.c.workflow == row.workflow,
                schedules.c.trigger == row.trigger,
                schedules.c.expression == row.expression,
                schedules.c.timezone == row.timezone,
                schedules.c.catch_up == row.catch_up,
            )
            .values(
                expression=new.expression,
                timezone=new.timezone,
                catch_up=new.catch_up,
                next_at=new.next_at,
            )
        ).rowcount
        == 1
    )


def _is_free(connection: sa.Connection, row: ScheduleRow) -> bool:
    """Lock the trigger, unless somebody else has: a ticker waits for nobody."""
    if not dialect.locks_rows(connection):
        return True
    query = (
        sa.select(sa.literal(1))
        .where(schedules.c.workflow == row.workflow, schedules.c.trigger == row.trigger)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).first() is not None

"""Where databases differ: locks, clocks, insert-if-absent, passing failures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from flask_squidmesh.store.models import attempts

_DATABASE_TIME: Final[dict[str, sa.ColumnElement[Any]]] = {
    # clock_timestamp(), not now(): the latter is the time at which the transaction began.
    "postgresql": sa.func.clock_timestamp(),
    "mysql": sa.func.utc_timestamp(6),
    "mariadb": sa.func.utc_timestamp(6),
}


def time_column(dialect: str) -> sa.ColumnElement[Any]:
    """Return the column of the database's time; null where the host's clock is the database's."""
    return _DATABASE_TIME.get(dialect, sa.null()).label("database_time")


def has_time(connection: sa.Connection) -> bool:
    """Return whether the database has a clock of its own."""
    return connection.dialect.name in _DATABASE_TIME


def aware(value: datetime | None) -> datetime | None:
    """Return a time the database told, in UTC."""
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def time(connection: sa.Connection) -> datetime | None:
    """Return the database's time, or None where it has no clock of its own."""
    if not has_time(connection):
        return None
    return aware(connection.scalar(sa.select(_DATABASE_TIME[connection.dialect.name])))


def locks_rows(connection: sa.Connection) -> bool:
    """Return whether the database locks single rows, and can leave out those that are locked."""
    return connection.dialect.name != "sqlite"


def is_among(dialect: str, column: sa.Column[str], bound: str) -> sa.ColumnElement[bool]:
    """Return the condition that *column* has one of many ids, which are *bound* as a list.

    As one value where there are arrays: the statement is the same for any number
    of them, and the driver need not read through a parameter for each.
    """
    if dialect != "postgresql":
        return column.in_(sa.bindparam(bound, expanding=True))
    values = sa.bindparam(bound, type_=postgresql.ARRAY(sa.Text))
    return column == sa.any_(sa.cast(values, postgresql.ARRAY(postgresql.UUID)))


def insert_if_absent(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    """Return an INSERT that does nothing (rowcount 0) when a unique key exists already."""
    return _insert_if_absent(connection.dialect.name, table).execution_options(
        # Of an INSERT SQLAlchemy otherwise forgets the count when the cursor is closed.
        preserve_rowcount=True
    )


def _insert_if_absent(dialect: str, table: sa.Table) -> sa.Insert:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return sa.insert(table).prefix_with("IGNORE")


# Conflicts, locks and statements that took too long, and sessions the server has ended.
_PASSING_SQLSTATES: Final = frozenset(
    ("40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "25P03")
)
# The connection, and what the server is short of: memory, disk, connections.
_PASSING_CLASSES: Final = ("08", "53")
_UNIQUE_SQLSTATE: Final = "23505"
_PASSING_MYSQL_CODES: Final = (1020, 1205, 1213, 2006, 2013)


def is_passing(error: BaseException) -> bool:
    """Return whether *error* is of a kind that a repetition may not meet again.

    Lost connections, serialization failures, deadlocks, and a locked SQLite file.
    """
    if isinstance(error, sa.exc.TimeoutError):
        return True
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    original = error.orig
    sqlstate = getattr(original, "sqlstate", None)
    if sqlstate is not None:
        # With a stricter level than READ COMMITTED, two who end at the same time find the same
        # number free for their attempts.
        is_taken = sqlstate == _UNIQUE_SQLSTATE and str(attempts.primary_key.name) in str(original)
        is_short = str(sqlstate).startswith(_PASSING_CLASSES)
        return is_taken or is_short or sqlstate in _PASSING_SQLSTATES
    if not isinstance(error, sa.exc.OperationalError) or original is None:
        return False
    text = str(original)
    if "database is locked" in text or "database table is locked" in text:
        return True
    if original.args and original.args[0] in _PASSING_MYSQL_CODES:
        return True
    # A refused or broken connection carries no SQLSTATE in psycopg.
    return type(original).__module__.startswith("psycopg")

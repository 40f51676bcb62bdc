"""Statements that are rendered once and from then on handed to the driver as text.

For the few that every run and every step executes, on PostgreSQL. SQLAlchemy
keeps compiled statements, too, but prepares each execution anew: it collects
and processes the parameters one by one and sets a result up. Here the text is
kept, constants stand in it, and what is bound is plain data that the drivers
know. psycopg sees the same text again and has the server prepare it.

Such a statement is executed in a transaction that is open already, through its
connection, or as its own transaction, through `Alone`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh.store import exchange, transaction
from flask_squidmesh.store.models import UtcDateTime

logger = logging.getLogger(__name__)

_DRIVERS: Final = ("psycopg", "psycopg2")
"""The drivers that take the text of ids, aware times, lists and intervals as they are."""

_TRANSLATED: Final = "schema_translate_map"


def is_possible(database: sa.Engine | sa.Connection | Alone) -> bool:
    """Return whether the database can write to several tables in one statement."""
    return database.dialect.name == "postgresql"


def fixed(value: str | int) -> sa.ColumnElement[Any]:
    """Return a number, or a word of ours such as a status, as a part of the statement's text."""
    return sa.literal_column(str(value) if isinstance(value, int) else f"'{value}'")


def fixed_interval(duration: timedelta) -> sa.ColumnElement[Any]:
    """Return a setting that is a time, as a part of the statement's text."""
    return sa.literal_column(f"INTERVAL '{duration.total_seconds():.6f} seconds'", sa.Interval())


def is_keyed(
    table: sa.FromClause, part: sa.CTE, *, bound: str = "in_run_id"
) -> sa.ColumnElement[bool]:
    """Return the condition for the rows in *table* of the run that *part* has found.

    They are found by the id that is *bound*, and not by that of *part*: how many
    rows the server expects there decides then about nothing, and it never reads
    a table from one end to the other for a run.
    """
    return sa.and_(table.c.run_id == sa.bindparam(bound), table.c.run_id == part.c.run_id)


def has_row(part: sa.CTE) -> sa.ColumnElement[bool]:
    """Return the condition that *part* has a row. It is asked, and so executed, first."""
    return sa.exists(sa.select(fixed(1)).select_from(part))


def status_of(table: sa.FromClause) -> sa.ColumnElement[str]:
    """Return the status of a row that is found by its key, for conditions and nothing else.

    As an expression no index knows it. Otherwise a server whose statistics know
    little of these tables may take the index by status for the better one, and
    look at everything that has ever run, dead entries included, for one row.
    """
    return table.c.status.concat(fixed(""))


def moment() -> sa.ColumnElement[datetime]:
    """Return the time of a statement: what is bound as `at`, or the database's when that is None.

    `clock_timestamp()` and not `now()`, which is when the transaction began.
    """
    at = sa.bindparam("at", type_=UtcDateTime)
    return sa.type_coerce(sa.func.coalesce(at, sa.func.clock_timestamp()), UtcDateTime)


def insertion(table: sa.Table, values: Mapping[str, sa.ColumnElement[Any]]) -> sa.Insert:
    """Return the insertion of the rows that *values*, by column, are found to have."""
    return sa.insert(table).from_select(list(values), sa.select(*values.values()))


LONGEST: Final = 4096
"""How long a text may be, in characters, for psycopg to keep what it makes of it."""


class Prepared:
    """A statement that returns one row at most. Its text is no longer than `LONGEST`."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self._statement = statement
        self._texts: dict[str, str] = {}

    def text(self, database: sa.Engine | sa.Connection) -> str | None:
        """Return the statement as text, None where SQLAlchemy must make it for each execution."""
        dialect = database.dialect
        if dialect.driver not in _DRIVERS or _TRANSLATED in database.get_execution_options():
            return None
        text = self._texts.get(dialect.driver)
        if text is None:
            text = self._texts[dialect.driver] = str(self._statement.compile(dialect=dialect))
        return text

    @cached_property
    def numbered(self) -> exchange.Text:
        """The statement as text for an `exchange`."""
        return exchange.text_of(self._statement)

    def first(
        self, through: sa.Connection | Alone, values: Mapping[str, Any]
    ) -> Sequence[Any] | None:
        """Execute the statement with *values* and return its row, None when it has none."""
        if isinstance(through, Alone):
            return through.first(self, values)
        text = self.text(through)
        if text is None:
            return through.execute(self._statement, values).first()
        return through.exec_driver_sql(text, values).first()


class Alone:
    """Executes statements each as its own transaction, repeated after a passing failure.

    A database that is away is tried for *patience* seconds, see `transaction`.

    The statement goes straight to the driver, on a connection of the engine's
    pool. Where somebody listens to the engine or reads its log it goes through
    SQLAlchemy, so that they hear of it; and so it does after any failure, since
    SQLAlchemy knows what that means. The statements are guarded: to repeat one
    that was executed changes nothing.
    """

    def __init__(self, engine: transaction.Engine, *, patience: float = 0.0) -> None:
        self._engine = engine
        self._patience = patience

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    def first(self, statement: Prepared, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """Execute *statement* and return its row, None when it has none."""
        text = statement.text(self._engine)
        if text is not None and not _is_heard(self._engine):
            try:
                return self._directly(statement, text, values)
            except (
                self._engine.dialect.loaded_dbapi.Error,
                sa.exc.SQLAlchemyError,
                exchange.RefusedError,
            ) as error:
                # If it comes again it is raised below, as what it is.
                logger.debug("a statement is repeated after %s", type(error).__name__)
        return transaction.run_alone(
            self._engine, lambda c: statement.first(c, values), patience=self._patience
        )

    def _directly(
        self, statement: Prepared, text: str, values: Mapping[str, Any]
    ) -> Sequence[Any] | None:
        pooled = self._engine.raw_connection()
        try:
            row = _exchanged(pooled, statement, text, values)
        except BaseException:
            # Whatever state it is in, nobody else gets it.
            pooled.invalidate()
            raise
        pooled.close()
        return row


def _exchanged(
    pooled: sa.PoolProxiedConnection, statement: Prepared, text: str, values: Mapping[str, Any]
) -> Sequence[Any] | None:
    way = exchange.exchange_on(pooled.dbapi_connection, pooled.info)
    if way is not None:
        with suppress(exchange.UnsuitedError):
            return way.first(statement.numbered, values)
    driver: Any = pooled.dbapi_connection
    was = driver.autocommit
    driver.autocommit = True
    cursor = driver.cursor()
    cursor.execute(text, values)
    row: Sequence[Any] | None = cursor.fetchone()
    cursor.close()
    driver.autocommit = was
    return row


def _is_heard(engine: sa.Engine) -> bool:
    """Return whether anybody would miss a statement that SQLAlchemy does not execute."""
    listened_to = getattr(engine, "_has_events", True)
    return bool(listened_to) or engine.logger.isEnabledFor(logging.INFO)

"""Statements that are rendered once and from then on handed to the driver as text.

For the few statements that every step of every run executes. SQLAlchemy can
keep a compiled statement, but prepares its execution anew each time: it looks
the statement up, collects its parameters and processes them one by one. Here
the text is kept instead, constants stand in it as literals, and what is bound
is plain data that the drivers know. psycopg sees the same text again and
prepares it in the server by itself.

Execution still goes through SQLAlchemy's connection, so whoever listens to the
host's engine hears of these statements like of all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

_DRIVERS: Final = ("psycopg", "psycopg2")
"""The drivers that take the text of ids, aware times, lists and intervals as they are."""


def is_possible(database: sa.Engine | sa.Connection) -> bool:
    """Return whether the database can write to several tables in one statement."""
    return database.dialect.name == "postgresql"


class Prepared:
    """A statement of one row at most, for PostgreSQL."""

    def __init__(self, statement: sa.Executable) -> None:
        self._statement = statement
        self._text: dict[str, str] = {}

    def first(self, connection: sa.Connection, values: Mapping[str, Any]) -> sa.Row[Any] | None:
        """Execute the statement with *values* and return its row, None when it has none."""
        driver = connection.dialect.driver
        if driver not in _DRIVERS:
            return connection.execute(self._statement, values).first()
        text = self._text.get(driver)
        if text is None:
            text = self._text[driver] = self._rendered(connection.dialect)
        return connection.exec_driver_sql(text, values).first()

    def _rendered(self, dialect: sa.Dialect) -> str:
        return str(self._statement.compile(dialect=dialect))  # type: ignore[attr-defined]  # every clause has it


def fixed(value: str | int) -> sa.ColumnElement[Any]:
    """Return a number, or a word of ours such as a status, as a part of the statement's text."""
    return sa.literal_column(str(value) if isinstance(value, int) else f"'{value}'")

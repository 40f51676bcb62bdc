"""What a database's refusal means: the mistakes of the first day get words of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.store.models import PREFIX

Failure: Final = sa.exc.SQLAlchemyError
"""Whatever the database, its driver or SQLAlchemy raises."""

_REMEDY: Final = (
    "run 'flask squidmesh install' and 'flask db upgrade' (or db.create_all() in an application "
    "without migrations), and check that SQLALCHEMY_DATABASE_URI names the database you mean"
)
_NO_TABLE_SQLSTATE: Final = "42P01"
_NO_COLUMN_SQLSTATE: Final = "42703"
_NO_TABLE_MYSQL: Final = 1146
_NO_COLUMN_MYSQL: Final = 1054


@contextmanager
def explained() -> Iterator[None]:
    """Raise `ConfigError` in place of what the database says when our tables are not there."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        reason = _why(error)
        if reason is None:
            raise
        raise ConfigError(
            ["tables"],
            reasons={"tables": f"{reason} ({summary(error)}); {_REMEDY}"},
            summary="the database is not ready for flask_squidmesh:",
        ) from error


def summary(error: BaseException) -> str:
    """Return the first line of what the driver said: no statement, and no parameters."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def _why(error: sa.exc.DBAPIError) -> str | None:
    """Return what is missing, None when it is something else or not ours."""
    original = error.orig
    if original is None or PREFIX not in f"{original} {error.statement}":
        return None
    text, sqlstate = str(original), getattr(original, "sqlstate", None)
    number = original.args[0] if original.args else None
    if "no such table" in text or sqlstate == _NO_TABLE_SQLSTATE or number == _NO_TABLE_MYSQL:
        return "its tables are missing"
    if "no such column" in text or sqlstate == _NO_COLUMN_SQLSTATE or number == _NO_COLUMN_MYSQL:
        return "its tables are those of another release"
    return None

"""Units of work: one transaction, repeated whole after a passing failure."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from flask_squidmesh.clock import Clock, pause
from flask_squidmesh.store.dialect import is_passing
from flask_squidmesh.store.failure import explained

T = TypeVar("T")
Engine = sa.Engine
Connection = sa.Connection

PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds before each repetition; the last one again and again while there is patience."""


@explained()
def run(engine: sa.Engine, work: Callable[[sa.Connection], T], *, patience: float = 0.0) -> T:
    """Commit *work* and return its result; repeat it after a passing failure.

    The answer to a commit can be lost although the commit was not, so *work*
    must recognise its own result: its guarded writes then match no row. A
    database that is away is tried for some two seconds, or for *patience* if
    that is longer.
    """

    def attempt() -> T:
        with engine.connect() as connection:
            _read_what_is_committed(connection)
            with connection.begin():
                return work(connection)

    return _repeated(attempt, patience)


@explained()
def run_alone(
    engine: sa.Engine, statement: Callable[[sa.Connection], T], *, patience: float = 0.0
) -> T:
    """Return the result of *statement*, which is its own transaction; repeat it as `run` does."""
    return _repeated(lambda: _alone(engine, statement), patience)


def _read_what_is_committed(connection: sa.Connection) -> None:
    """Judge by what is there once the lock is held, whatever level the host has chosen.

    With a snapshot from before, the rows of whoever held the lock are not seen.
    """
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="READ COMMITTED")


def _repeated(attempt: Callable[[], T], patience: float) -> T:
    clock = Clock()
    ends = clock.monotonic() + patience
    for number in itertools.count():
        try:
            return attempt()
        except sa.exc.SQLAlchemyError as error:
            is_late = number >= len(PAUSES) and clock.monotonic() >= ends
            if is_late or not is_passing(error):
                raise
        pause(PAUSES[min(number, len(PAUSES) - 1)])
    raise AssertionError("there is always another number")


def _alone(engine: sa.Engine, statement: Callable[[sa.Connection], T]) -> T:
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        return statement(connection)


@explained()
def read(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    """Return the result of *work*, which only reads, from one snapshot where there is one.

    Repeated as `run` is: after a restart of the database the first to ask
    finds that the connections of the pool are gone.
    """

    def attempt() -> T:
        with engine.connect() as connection:
            _look_at_one_moment(connection)
            return work(connection)

    return _repeated(attempt, patience=0.0)


def _look_at_one_moment(connection: sa.Connection) -> None:
    """Have all that is read through *connection* from now on be of one moment."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ")
    elif connection.dialect.name == "sqlite":
        # Python's driver begins a transaction for what writes, and each SELECT would see its own
        # moment. The rollback at the end of the connection ends this one, too.
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction:
            driver.execute("BEGIN")

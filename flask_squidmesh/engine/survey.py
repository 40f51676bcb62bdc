"""What `flask squidmesh check` wants to know of the database; pure reads, no judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.store import definitions, dialect, failure, survey, transaction
from flask_squidmesh.store.survey import ReadyRow

Failure: Final = failure.Failure
"""What the database raises; for edges, which do not know SQLAlchemy."""

said_by: Final = failure.summary
"""Returns what a failure is in one line, without statement and parameters."""

UNHEARD_AFTER: Final = timedelta(seconds=10)
"""How long a step may be ready before somebody should have taken it."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The database and our tables in it.

    `address` is its URL without the password. `ahead` is how far this host's
    clock is ahead of the database's (negative: behind), None where they are
    one. `journal_mode` is None for anything but SQLite. `is_autocommit`: the
    host's connections commit after each statement.
    """

    kind: str
    address: str
    missing_tables: tuple[str, ...]
    missing_columns: tuple[str, ...]
    ahead: timedelta | None
    journal_mode: str | None
    is_in_memory: bool
    is_autocommit: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Steps that are ready and that nobody has claimed for a while."""

    workflow: str
    step: str
    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """The work in the database.

    `unfinished` counts the runs that are not over, by workflow. `untaken` are
    steps that wait for a worker, `unavailable` those that wait for code which
    is not registered here. `due_since` is when a ticker should have looked.
    """

    now: datetime
    unfinished: Mapping[str, int]
    untaken: tuple[Waiting, ...]
    unavailable: tuple[Waiting, ...]
    due_since: datetime | None


def look_at_storage(runtime: Runtime) -> Storage:
    """Return the state of the database; raises `Failure` when it can not be reached."""

    def work(connection: transaction.Connection) -> Storage:
        tables, columns = survey.missing_parts(connection)
        return Storage(
            kind=connection.dialect.name,
            address=survey.address(runtime.database),
            missing_tables=tuple(tables),
            missing_columns=tuple(columns),
            ahead=_ahead(runtime, connection),
            journal_mode=survey.journal_mode(connection),
            is_in_memory=survey.is_in_memory(runtime.database),
            is_autocommit=survey.is_autocommit(runtime.database),
        )

    return transaction.read(runtime.database, work)


def _ahead(runtime: Runtime, connection: transaction.Connection) -> timedelta | None:
    asked = runtime.clock.now
    told = dialect.time(connection)
    # The database looked at its clock about halfway between question and answer.
    return None if told is None else asked + (runtime.clock.now - asked) / 2 - told


def look_at_work(runtime: Runtime) -> Work:
    """Return what waits in the database; all tables must be there."""

    def work(connection: transaction.Connection) -> Work:
        now = runtime.clock.judge(dialect.time(connection))
        ready = survey.list_ready_since(connection, before=now - UNHEARD_AFTER)
        executable = {row: _can_execute(runtime, connection, row) for row in ready}
        return Work(
            now=now,
            unfinished=survey.count_unfinished(connection),
            untaken=tuple(_waiting(row) for row in ready if executable[row]),
            unavailable=tuple(_waiting(row) for row in ready if not executable[row]),
            due_since=survey.longest_due(connection),
        )

    return transaction.read(runtime.database, work)


def _can_execute(runtime: Runtime, connection: transaction.Connection, row: ReadyRow) -> bool:
    code = runtime.code(row.workflow)
    if code is None:
        return False
    document = documents.decode(definitions.get(connection, row.fingerprint))
    definition = Definition.from_dict(document)
    is_step = definition.steps_by_name[row.step].kind == "step"
    return not is_step or row.step in runtime.executable_steps(definition, code)


def _waiting(row: ReadyRow) -> Waiting:
    return Waiting(row.workflow, row.step, row.count, row.since)

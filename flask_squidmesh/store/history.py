"""What has happened: step runs and attempts that ended, inserted once, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import AttemptStatus, StepRunStatus
from flask_squidmesh.store import dialect
from flask_squidmesh.store.models import attempts, branches, step_runs


@dataclass(frozen=True, slots=True)
class StepRunRow:
    """A step run that ended with attempt `ordinal`; it saw the outputs up to `horizon`.

    `outcome` is the route that was taken; None when its end led nowhere, and
    then its output is not part of the run's context.
    """

    run_id: str
    step: str
    visit: int
    slot: int
    ordinal: int
    horizon: int
    status: str
    outcome: str | None
    output: str | None
    created_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt that ended; `ordinal` counts the ended attempts of the run, from 1."""

    run_id: str
    ordinal: int
    step: str
    visit: int
    number: int
    status: str
    fencing_token: int
    worker: str | None
    error: str | None
    traceback: str | None
    started_at: datetime
    finished_at: datetime


Output = tuple[str, str]
"""A step and its output, encoded, that is part of the run's context."""

_STEP_NAMES: Final = tuple(f.name for f in fields(StepRunRow))
_ATTEMPT_NAMES: Final = tuple(f.name for f in fields(AttemptRow))
_STEP_COLUMNS: Final = tuple(step_runs.c[name] for name in _STEP_NAMES)
_ATTEMPT_COLUMNS: Final = tuple(attempts.c[name] for name in _ATTEMPT_NAMES)
_INSERT_STEP = sa.insert(step_runs)
_INSERT_ATTEMPT = sa.insert(attempts)
_LAST_ORDINAL = sa.select(sa.func.max(attempts.c.ordinal)).where(
    attempts.c.run_id == sa.bindparam("run_id")
)
_STEPS = (
    sa.select(*_STEP_COLUMNS)
    .where(step_runs.c.run_id == sa.bindparam("run_id"))
    .order_by(step_runs.c.horizon, step_runs.c.slot)
)
_ATTEMPTS = (
    sa.select(*_ATTEMPT_COLUMNS)
    .where(attempts.c.run_id == sa.bindparam("run_id"))
    .order_by(attempts.c.ordinal)
)
_ATTEMPT = sa.select(*_ATTEMPT_COLUMNS).where(
    attempts.c.run_id == sa.bindparam("run_id"), attempts.c.ordinal == sa.bindparam("ordinal")
)
_LATEST_ERROR = (
    sa.select(attempts.c.error, attempts.c.step)
    .join(
        branches,
        sa.and_(
            branches.c.run_id == attempts.c.run_id,
            branches.c.step == attempts.c.step,
            branches.c.visit == attempts.c.visit,
        ),
    )
    .where(
        attempts.c.run_id == sa.bindparam("run_id"),
        attempts.c.error.is_not(None),
        branches.c.status == StepRunStatus.RETRYING.value,
    )
    .order_by(attempts.c.ordinal.desc())
    .limit(1)
)
_BY_TOKEN = sa.select(attempts.c.ordinal).where(
    attempts.c.run_id == sa.bindparam("run_id"),
    attempts.c.ordinal > sa.bindparam("after"),
    attempts.c.step == sa.bindparam("step"),
    attempts.c.visit == sa.bindparam("visit"),
    attempts.c.fencing_token == sa.bindparam("fencing_token"),
    # Recorded by whoever took over, and not by the one who asks whether that was he.
    attempts.c.status != AttemptStatus.ABANDONED.value,
)
_ITS_STEP_RUN = (
    # By the key of `step_runs`: found one by one, however many step runs the run has.
    attempts.c.run_id == step_runs.c.run_id,
    attempts.c.step == step_runs.c.step,
    attempts.c.visit == step_runs.c.visit,
    attempts.c.ordinal == step_runs.c.ordinal,
)
_WITHIN = (
    attempts.c.run_id == sa.bindparam("run_id"),
    attempts.c.ordinal > sa.bindparam("after"),
    attempts.c.ordinal <= sa.bindparam("up_to"),
)
_SINCE = (
    sa.select(*_STEP_COLUMNS)
    .join(attempts, sa.and_(*_ITS_STEP_RUN))
    .where(*_WITHIN)
    .order_by(attempts.c.ordinal)
)


def _since_one_by_one() -> sa.Select[Any]:
    """Return `_SINCE` for a server that may take the id of the run for all of the key.

    PostgreSQL does while its statistics know nothing of the run, and then reads
    all its step runs for each of its attempts.
    """
    found = sa.select(*_STEP_COLUMNS).where(*_ITS_STEP_RUN).correlate(attempts).limit(1)
    its = found.lateral("its")
    return (
        sa.select(*its.c)
        .select_from(attempts.join(its, sa.true()))
        .where(*_WITHIN)
        .order_by(attempts.c.ordinal)
    )


_SINCE_ONE_BY_ONE = _since_one_by_one()


def insert_step_runs(connection: sa.Connection, rows: Sequence[StepRunRow]) -> None:
    """Record step runs that ended."""
    connection.execute(
        _INSERT_STEP, [{name: getattr(row, name) for name in _STEP_NAMES} for row in rows]
    )


def insert_attempts(connection: sa.Connection, rows: Sequence[AttemptRow]) -> None:
    """Record attempts that ended."""
    connection.execute(
        _INSERT_ATTEMPT, [{name: getattr(row, name) for name in _ATTEMPT_NAMES} for row in rows]
    )


def last_ordinal(connection: sa.Connection, run_id: str) -> int:
    """Return the ordinal of the run's latest ended attempt, 0 before the first."""
    return connection.execute(_LAST_ORDINAL, {"run_id": run_id}).scalar() or 0


def step_runs_of(connection: sa.Connection, run_id: str) -> list[StepRunRow]:
    """Return the run's ended step runs in the order they became ready."""
    return [StepRunRow(*row) for row in connection.execute(_STEPS, {"run_id": run_id})]


def outputs_of(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, list[Output]]:
    """Return, by run, what its context is made of, in the order it came."""
    found: dict[str, list[Output]] = {}
    # At once: row by row each would be fetched by a call of its own, through two libraries.
    query = _outputs(connection.dialect.name)
    for run_id, step, output in connection.execute(query, {"run_ids": list(run_ids)}).all():
        found.setdefault(run_id, []).append((step, output))
    return found


@cache
def _outputs(name: str) -> sa.Select[Any]:
    return (
        sa.select(step_runs.c.run_id, step_runs.c.step, step_runs.c.output)
        .where(
            dialect.is_among(name, step_runs.c.run_id, "run_ids"),
            step_runs.c.outcome.is_not(None),
            step_runs.c.output.is_not(None),
        )
        .order_by(step_runs.c.run_id, step_runs.c.ordinal)
    )


def step_runs_between(
    connection: sa.Connection, run_id: str, *, after: int, up_to: int
) -> list[StepRunRow]:
    """Return the step runs that ended with the attempts in (after, up_to], in that order."""
    values = {"run_id": run_id, "after": after, "up_to": up_to}
    query = _SINCE_ONE_BY_ONE if connection.dialect.name == "postgresql" else _SINCE
    return [StepRunRow(*row) for row in connection.execute(query, values)]


def attempts_of(connection: sa.Connection, run_id: str) -> list[AttemptRow]:
    """Return the run's ended attempts in the order they ended."""
    return [AttemptRow(*row) for row in connection.execute(_ATTEMPTS, {"run_id": run_id})]


def find_attempt(connection: sa.Connection, run_id: str, ordinal: int) -> AttemptRow | None:
    """Return the attempt with this ordinal."""
    row = connection.execute(_ATTEMPT, {"run_id": run_id, "ordinal": ordinal}).one_or_none()
    return None if row is None else AttemptRow(*row)


def find_latest_error(connection: sa.Connection, run_id: str) -> tuple[str, str] | None:
    """Return the error, encoded, and the step of the latest failure that is to be retried."""
    row = connection.execute(_LATEST_ERROR, {"run_id": run_id}).one_or_none()
    return None if row is None else (row[0], row[1])


def find_landed(
    connection: sa.Connection, run_id: str, *, after: int, step: str, visit: int, fencing_token: int
) -> int | None:
    """Return the ordinal of the attempt that was settled with this token, after *after*."""
    values = {
        "run_id": run_id,
        "after": after,
        "step": step,
        "visit": visit,
        "fencing_token": fencing_token,
    }
    return connection.execute(_BY_TOKEN, values).scalar()


def has_step_run(connection: sa.Connection, run_id: str, step: str) -> bool:
    """Return whether a visit of *step* has ended in the run."""
    query = sa.select(sa.literal(1)).where(step_runs.c.run_id == run_id, step_runs.c.step == step)
    return connection.execute(query.limit(1)).first() is not None


def visits_of(connection: sa.Connection, run_id: str) -> dict[str, int]:
    """Return how often each step of the run was entered and left."""
    query = (
        sa.select(step_runs.c.step, sa.func.max(step_runs.c.visit))
        .where(step_runs.c.run_id == run_id)
        .group_by(step_runs.c.step)
    )
    return {row[0]: row[1] for row in connection.execute(query)}

"""What the dashboard asks about all runs at once: bounded reads, whatever the history's size.

Unfinished runs are few beside the history, and each question is one about them
or about a bounded number of rows at one end of an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store.models import branches, run_states, runs


@dataclass(frozen=True, slots=True)
class PausedRow:
    """A run that waits for a person, and since when."""

    run_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A run that failed; the error is encoded JSON."""

    run_id: str
    workflow: str
    finished_at: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class BranchRow:
    """A step that does not move, and since when."""

    run_id: str
    workflow: str
    step: str
    worker: str | None
    since: datetime


def count_runs(
    connection: sa.Connection, wanted: Mapping[RunStatus, datetime | None], *, limit: int
) -> dict[RunStatus, int]:
    """Return how many runs have each status, at most *limit* of each.

    Of a status with a time only the runs that were started since are counted.
    """
    counts = []
    for status, since in wanted.items():
        rows = sa.select(run_states.c.run_id).where(run_states.c.status == status.value)
        if since is not None:
            rows = rows.where(run_states.c.created_at >= since)
        counted = sa.select(sa.func.count()).select_from(rows.limit(limit).subquery())
        counts.append(counted.scalar_subquery().label(status.value))
    return dict(zip(wanted, connection.execute(sa.select(*counts)).one(), strict=True))


def find_paused_steps(
    connection: sa.Connection, run_ids: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """Return step and visit at which each of the runs waits for a person, by its id."""
    query = sa.select(branches.c.run_id, branches.c.step, branches.c.visit).where(
        branches.c.run_id.in_(run_ids), branches.c.status == StepRunStatus.PAUSED.value
    )
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def list_paused(
    connection: sa.Connection, *, after: tuple[datetime, str] | None, limit: int
) -> Sequence[PausedRow]:
    """Return up to *limit* paused runs, longest waiting first, from after *after* (time, id)."""
    # A run's state is not touched between its pause and the decision.
    since, ident = run_states.c.updated_at, run_states.c.run_id
    query = sa.select(ident, since).where(run_states.c.status == RunStatus.PAUSED.value)
    if after is not None:
        at, run_id = after
        query = query.where(sa.or_(since > at, sa.and_(since == at, ident > run_id)))
    return [
        PausedRow(*row) for row in connection.execute(query.order_by(since, ident).limit(limit))
    ]


def list_failed(connection: sa.Connection, *, limit: int) -> Sequence[FailedRow]:
    """Return the *limit* failed runs that were started last, newest first."""
    newest = (
        sa.select(run_states.c.run_id)
        .where(run_states.c.status == RunStatus.FAILED.value)
        .order_by(run_states.c.created_at.desc(), run_states.c.run_id.desc())
        .limit(limit)
        .subquery()
    )
    query = (
        sa.select(runs.c.id, runs.c.workflow, run_states.c.finished_at, run_states.c.last_error)
        .select_from(newest)
        .join(run_states, run_states.c.run_id == newest.c.run_id)
        .join(runs, runs.c.id == newest.c.run_id)
        .order_by(run_states.c.created_at.desc(), run_states.c.run_id.desc())
    )
    return [FailedRow(*row) for row in connection.execute(query)]


def list_lost(connection: sa.Connection, *, now: datetime, limit: int) -> Sequence[BranchRow]:
    """Return up to *limit* executing steps whose lease has run out, the longest silent first."""
    query = (
        sa.select(
            branches.c.run_id,
            runs.c.workflow,
            branches.c.step,
            branches.c.worker,
            branches.c.due_at,
        )
        .join(runs, runs.c.id == branches.c.run_id)
        .where(branches.c.due_at <= now, branches.c.status == StepRunStatus.RUNNING.value)
        .order_by(branches.c.due_at)
        .limit(limit)
    )
    return [BranchRow(*row) for row in connection.execute(query)]


def find_untaken(connection: sa.Connection, *, before: datetime) -> BranchRow | None:
    """Return the step that has waited longest for a worker, ready since before *before*."""
    oldest = (
        sa.select(branches.c.run_id, branches.c.step, branches.c.worker, branches.c.ready_at)
        .where(branches.c.status == StepRunStatus.PENDING.value, branches.c.ready_at <= before)
        .order_by(branches.c.ready_at)
        .limit(1)
        .subquery()
    )
    query = sa.select(
        oldest.c.run_id, runs.c.workflow, oldest.c.step, oldest.c.worker, oldest.c.ready_at
    ).join(runs, runs.c.id == oldest.c.run_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else BranchRow(*row)

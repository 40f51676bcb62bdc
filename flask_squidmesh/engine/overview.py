"""All runs at a glance, and what waits for people; pure reads, bounded in what they touch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.engine import cursor, explain, graph
from flask_squidmesh.engine.inspect import list_by_ids
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.lifecycle.states import RUN, RunStatus, active, terminal
from flask_squidmesh.store import definitions, dialect, overview, runs, transaction
from flask_squidmesh.store.overview import BranchRow, FailedRow, PausedRow
from flask_squidmesh.types import Explanation, Run, RunGraph

COUNT_LIMIT: Final = 10_000
"""How far runs are counted; what is more is "10,000 or more"."""

ENDED_WINDOW: Final = timedelta(hours=24)
"""Of the runs that are over, those started within this time are counted."""

FAILURES: Final = 200
"""How many of the latest failed runs are grouped."""

LOST: Final = 20
"""How many silent workers are named."""

VERSIONS: Final = 20
"""How many definitions of a workflow are listed."""

UNHEARD_AFTER: Final = timedelta(seconds=10)
"""How long a step may be ready before somebody should have taken it."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many runs have a status; `is_least`: there may be more."""

    status: str
    number: int
    is_least: bool


@dataclass(frozen=True, slots=True)
class Still:
    """A step that does not move by itself, and since when."""

    run_id: str
    workflow: str
    step: str
    worker: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed runs of one workflow that failed at one step with one code; the latest of them."""

    workflow: str
    step: str | None
    code: str | None
    count: int
    run_id: str
    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Overview:
    """All runs at a glance.

    `unfinished` counts every run that is not over, `ended` those that are over
    and were started after `ended_since`. `failures` groups the latest
    `failures_among` failed runs. `untaken` is the step that has waited longest
    for a worker, None while none has waited for long.
    """

    now: datetime
    unfinished: tuple[Count, ...]
    ended: tuple[Count, ...]
    ended_since: datetime
    lost: tuple[Still, ...]
    untaken: Still | None
    failures: tuple[FailureGroup, ...]
    failures_among: int


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that waits for a person at the given visit of a step."""

    run: Run
    definition: Definition
    step: str
    visit: int
    since: datetime


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """A page of what waits for people, longest first; `next` continues after it."""

    items: tuple[WaitingRun, ...]
    next: str | None


def look_over(runtime: Runtime) -> Overview:
    """Return all runs at a glance."""

    def work(connection: transaction.Connection) -> Overview:
        now = runtime.clock.judge(dialect.time(connection))
        since = now - ENDED_WINDOW
        failed = overview.list_failed(connection, limit=FAILURES)
        wanted: dict[RunStatus, datetime | None] = dict.fromkeys(active(RUN))
        wanted |= dict.fromkeys(terminal(RUN), since)
        counted = overview.count_runs(connection, wanted, limit=COUNT_LIMIT)
        untaken = overview.find_untaken(connection, before=now - UNHEARD_AFTER)
        return Overview(
            now=now,
            unfinished=tuple(_count(status, counted[status]) for status in active(RUN)),
            ended=tuple(_count(status, counted[status]) for status in terminal(RUN)),
            ended_since=since,
            lost=tuple(map(_still, overview.list_lost(connection, now=now, limit=LOST))),
            untaken=None if untaken is None else _still(untaken),
            failures=_grouped(failed),
            failures_among=len(failed),
        )

    return transaction.read(runtime.database, work)


def _count(status: RunStatus, number: int) -> Count:
    return Count(status.value, number, number == COUNT_LIMIT)


def _still(row: BranchRow) -> Still:
    return Still(row.run_id, row.workflow, row.step, row.worker, row.since)


def _grouped(failed: Iterable[FailedRow]) -> tuple[FailureGroup, ...]:
    """Return the groups, the largest first; equal ones as their latest run comes."""
    groups: dict[tuple[str, str | None, str | None], list[tuple[FailedRow, str]]] = {}
    for row in failed:
        error: Mapping[str, Any] = {} if row.error is None else documents.decode(row.error)
        key = (row.workflow, error.get("step"), error.get("code"))
        groups.setdefault(key, []).append((row, str(error.get("message", ""))))
    found = [
        FailureGroup(*key, len(rows), rows[0][0].run_id, rows[0][0].finished_at, rows[0][1])
        for key, rows in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: -group.count))


def list_waiting(runtime: Runtime, *, limit: int, after: str | None) -> WaitingPage:
    """Return what waits for people, longest first.

    Raises:
        ValueError: The cursor is not ours.
    """
    behind = None if after is None else cursor.read(after)

    def work(connection: transaction.Connection) -> WaitingPage:
        rows = overview.list_paused(connection, after=behind, limit=limit + 1)
        page = rows[:limit]
        items = tuple(_waiting(runtime, connection, page))
        return WaitingPage(items, _behind(page) if len(rows) > limit else None)

    return transaction.read(runtime.database, work)


def _behind(page: Sequence[PausedRow]) -> str:
    return cursor.make(page[-1].since, page[-1].run_id)


def _waiting(
    runtime: Runtime, connection: transaction.Connection, rows: Iterable[PausedRow]
) -> Iterable[WaitingRun]:
    since = {row.run_id: row.since for row in rows}
    if not since:
        return
    known = list_by_ids(runtime, connection, list(since))
    asked = {row.id: row for row, _ in runs.list_with_states(connection, list(since))}
    at = overview.find_paused_steps(connection, list(since))
    for run_id, moment in since.items():
        # Without snapshots, on SQLite, somebody may have decided in between.
        if run_id in known and run_id in at:
            definition = runtime.definition(connection, asked[run_id])
            yield WaitingRun(known[run_id], definition, *at[run_id], moment)


@dataclass(frozen=True, slots=True)
class Version:
    """A definition of a workflow that runs were started with; `first_used_at` by the first."""

    version: str | None
    fingerprint: str
    first_used_at: datetime


def list_versions(runtime: Runtime, workflow: str) -> tuple[Version, ...]:
    """Return the definitions of *workflow* that runs were started with, the latest first."""
    rows = transaction.read(
        runtime.database, lambda c: definitions.list_of(c, workflow, limit=VERSIONS)
    )
    return tuple(Version(*row) for row in rows)


def find_runs(runtime: Runtime, run_ids: Iterable[str]) -> dict[str, Run]:
    """Return the runs with these ids by their id; those that do not exist are left out."""
    wanted = list(dict.fromkeys(run_ids))
    return transaction.read(runtime.database, lambda c: list_by_ids(runtime, c, wanted))


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that is told about a run, from one look at it.

    `run` has its history.
    """

    run: Run
    definition: Definition
    explanation: Explanation
    graph: RunGraph


def study(runtime: Runtime, run_id: str) -> Study:
    """Return everything that is told about a run.

    Raises:
        RunNotFound: There is no such run.
    """
    found = transaction.read(runtime.database, lambda c: explain.read(runtime, c, run_id))
    return Study(
        run=found.run,
        definition=found.definition,
        explanation=explain.tell(found),
        graph=graph.tell(found.run, found.definition),
    )

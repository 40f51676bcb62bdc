"""What must be true in the end, asked of the whole database."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from benchmarks.chaos.fleet import Death
from benchmarks.chaos.host import WORKFLOWS, Path, expected
from flask_squidmesh.definition import documents
from flask_squidmesh.store import models
from tests.crash.invariants import violations

_WRITING: Final = ", ".join(
    f"('{each.name}', '{spec.name}')"
    for each in WORKFLOWS
    for spec in each.definition.steps
    if spec.kind == "step"
)
"""What writes: every step function does."""

HOST: Final = {
    "a host write belongs to a completed attempt": """
        SELECT e.run_id, e.step, e.visit, e.attempt, a.status FROM entry e
        LEFT JOIN squidmesh_attempts a ON a.run_id = e.run_id AND a.step = e.step
        AND a.visit = e.visit AND a.number = e.attempt
        WHERE a.status IS NULL OR a.status <> 'completed'""",
    "a step run has written once": """
        SELECT run_id, step, visit, COUNT(*) FROM entry
        GROUP BY run_id, step, visit HAVING COUNT(*) > 1""",
    "a completed step run has written": f"""
        SELECT s.run_id, s.step, s.visit FROM squidmesh_step_runs s
        JOIN squidmesh_runs r ON r.id = s.run_id
        WHERE s.status = 'completed' AND (r.workflow, s.step) IN ({_WRITING}) AND NOT EXISTS
        (SELECT 1 FROM entry e WHERE e.run_id = s.run_id AND e.step = s.step
         AND e.visit = s.visit)""",  # noqa: S608  # names of ours
    "an order has its run": """
        SELECT o.run_id FROM "order" o
        LEFT JOIN squidmesh_runs r ON r.id = o.run_id WHERE r.id IS NULL""",
    "a run of an order has its order": """
        SELECT r.id FROM squidmesh_runs r LEFT JOIN "order" o ON o.run_id = r.id
        WHERE r.workflow = 'ordered' AND r.replayed_from_run_id IS NULL AND o.id IS NULL""",
    "no cron window was left out": """
        SELECT workflow, COUNT(*) FROM squidmesh_runs WHERE cron_window IS NOT NULL
        AND replayed_from_run_id IS NULL GROUP BY workflow
        HAVING COUNT(*) - 1
        <> ROUND(EXTRACT(EPOCH FROM MAX(cron_window) - MIN(cron_window)) / 60)""",
}


def audit(connection: sa.Connection, accepted: Iterable[str]) -> dict[str, Any]:
    """Return the counts of runs, and everything that is not as it must be."""
    wrong = violations(connection, WORKFLOWS, at_the_end=True, more=HOST)
    stored = {row[0] for row in connection.execute(sa.select(models.runs.c.id))}
    lost = [run_id for run_id in accepted if run_id not in stored]
    surprises = _surprises(connection)
    return {
        "runs": len(stored),
        "accepted": len(list(accepted)),
        "lost": len(lost),
        "ended as expected": len(stored) - len(surprises),
        "surprises": surprises[:20],
        "violations": wrong[:50],
        "violation count": len(wrong),
        "statuses": _counted(connection, models.run_states.c.status),
        "attempts": _counted(connection, models.attempts.c.status),
        "host writes": connection.scalar(sa.text("SELECT COUNT(*) FROM entry")),
        "cron runs": connection.scalar(
            sa.select(sa.func.count()).where(models.runs.c.cron_window.is_not(None))
        ),
        "zombie writes accepted": len(
            connection.execute(
                sa.text(HOST["a host write belongs to a completed attempt"])
            ).fetchall()
        ),
    }


def _counted(connection: sa.Connection, column: sa.Column[Any]) -> dict[str, int]:
    query = sa.select(column, sa.func.count()).group_by(column)
    return {row[0]: row[1] for row in connection.execute(query)}


def _surprises(connection: sa.Connection) -> list[str]:
    """Return a line for each run that has not ended as its shape and its payload say."""
    paths: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
    steps = models.step_runs.c
    for run_id, step, visit, status in connection.execute(
        sa.select(steps.run_id, steps.step, steps.visit, steps.status)
    ):
        paths[run_id][step, visit] = status
    runs, states = models.runs.c, models.run_states.c
    query = sa.select(runs.id, runs.workflow, runs.payload, states.status, states.last_error).join(
        models.run_states, states.run_id == runs.id
    )
    surprises = []
    for run_id, workflow, payload, status, error in connection.execute(query):
        right: tuple[str, Path | None] = expected(workflow, documents.decode(payload))
        found = (status, paths[run_id] if right[1] is not None else None)
        if found != right:
            surprises.append(f"{workflow} {run_id}: expected {right}, found {found}; {error}")
    return surprises


def takeovers(
    connection: sa.Connection,
    deaths: Sequence[Death],
    outages: Sequence[tuple[datetime, datetime]],
) -> dict[str, Any]:
    """Return how long after a SIGKILL the attempts of the dead were given up, and begun again."""
    columns = models.attempts.c
    query = sa.select(
        columns.run_id,
        columns.step,
        columns.visit,
        columns.number,
        columns.worker,
        columns.status,
        columns.started_at,
        columns.finished_at,
    )
    attempts = {tuple(row[:4]): row for row in connection.execute(query)}
    by_pid = defaultdict(list)
    for row in attempts.values():
        if row.status == "abandoned" and row.worker:
            by_pid[int(row.worker.partition("@")[0])].append(row)
    given_up: list[float] = []
    begun: list[float] = []
    in_outages = 0
    for death in deaths:
        for row in (row for pid in death.pids for row in by_pid[pid]):
            if not row.started_at <= death.at <= row.finished_at:
                continue
            if any(down < row.finished_at and death.at < up for down, up in outages):
                in_outages += 1
                continue
            given_up.append((row.finished_at - death.at).total_seconds())
            after = attempts.get((row.run_id, row.step, row.visit, row.number + 1))
            if after is not None:
                begun.append((after.started_at - death.at).total_seconds())
    return {
        "given up after": _distribution(given_up),
        "begun again after": _distribution(begun),
        "left out because the database was away": in_outages,
    }


def _distribution(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"count": 0}
    ordered = sorted(seconds)
    return {
        "count": len(ordered),
        "median": round(statistics.median(ordered), 2),
        "p95": round(ordered[int(len(ordered) * 0.95)], 2),
        "max": round(ordered[-1], 2),
    }


def active(connection: sa.Connection) -> Counter[str]:
    """Return how many runs are not over, by status."""
    return Counter(
        {
            status: count
            for status, count in _counted(connection, models.run_states.c.status).items()
            if status not in ("completed", "failed", "cancelled")
        }
    )

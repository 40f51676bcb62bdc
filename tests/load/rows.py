"""Many runs at once, put into the tables without going through the engine one by one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh import Workflow, complete, manual, step, wait
from flask_squidmesh.definition import documents
from flask_squidmesh.ids import new_id
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import definitions, models

BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE: Final = 5_000


class Sleeper(Workflow):
    """Waits, and then does nothing much."""

    go = manual()
    rest = wait(seconds=3600)
    work = step(lambda: None)
    transitions = [rest >> work >> complete]


def insert_waiting(connection: sa.Connection, count: int, *, due_at: datetime) -> None:
    """Insert *count* runs of `Sleeper` that have begun to wait, and do until *due_at*."""
    _insert(connection, count, status=StepRunStatus.WAITING, due_at=due_at)


def insert_running(connection: sa.Connection, count: int, *, due_at: datetime) -> None:
    """Insert *count* runs of `Sleeper` whose step is executed under a lease until *due_at*."""
    _insert(connection, count, status=StepRunStatus.RUNNING, due_at=due_at)


def _insert(
    connection: sa.Connection, count: int, *, status: StepRunStatus, due_at: datetime
) -> None:
    definition = Sleeper.definition
    definitions.put(
        connection,
        fingerprint=definition.fingerprint,
        workflow=definition.name,
        version=definition.version,
        document=documents.encode(definition.to_dict(), what="definition"),
        now=BEGAN,
    )
    for size in _sizes(count):
        ids = [new_id() for _ in range(size)]
        connection.execute(sa.insert(models.runs), [_run(run_id) for run_id in ids])
        connection.execute(sa.insert(models.run_states), [_state(run_id) for run_id in ids])
        rows = [_branch(run_id, status, due_at) for run_id in ids]
        connection.execute(sa.insert(models.branches), rows)


def _sizes(count: int) -> Iterator[int]:
    while count > 0:
        yield min(count, AT_ONCE)
        count -= AT_ONCE


def _run(run_id: str) -> dict[str, Any]:
    return {
        "id": run_id,
        "workflow": Sleeper.definition.name,
        "fingerprint": Sleeper.definition.fingerprint,
        "trigger": "go",
        "payload": "{}",
        "created_at": BEGAN,
    }


def _state(run_id: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "status": RunStatus.RUNNING.value,
        "created_at": BEGAN,
        "updated_at": BEGAN,
    }


def _branch(run_id: str, status: StepRunStatus, due_at: datetime) -> dict[str, Any]:
    is_waiting = status == StepRunStatus.WAITING
    return {
        "run_id": run_id,
        "slot": 0,
        "step": "rest" if is_waiting else "work",
        "visit": 1,
        "status": status.value,
        "attempt": 1,
        "lost": 0,
        "fencing_token": 1,
        "horizon": 0,
        "resends": 0,
        "created_at": BEGAN,
        "ready_at": due_at if is_waiting else BEGAN,
        "due_at": due_at,
        "rung_at": None,
        "started_at": BEGAN,
        "touched_at": due_at - timedelta(seconds=60),
        "worker": "nobody",
    }

"""The start of a run in one statement: the run, where it stands, and its first branch.

For runs that begin with one step, on PostgreSQL. Nothing is inserted besides
when the run was not; so alone the statement is its own transaction, and in the
host's it costs one round trip. No row means that the run exists, or that its
key or its cron window does, and then the general path finds out which.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store.models import branches, run_states, runs
from flask_squidmesh.store.prepared import Alone, Prepared, fixed, insertion, moment

_GIVEN: Final = (
    "id",
    "workflow",
    "fingerprint",
    "trigger",
    "payload",
    "schedule",
    "cron_window",
    "idempotency_key",
    "request_digest",
)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be inserted, and the step it begins with; documents are encoded JSON."""

    id: str
    workflow: str
    fingerprint: str
    trigger: str
    payload: str
    schedule: str | None
    cron_window: datetime | None
    idempotency_key: str | None
    request_digest: str | None
    step: str


def _statement() -> sa.Select[Any]:
    given = [sa.bindparam(name, type_=runs.c[name].type) for name in _GIVEN]
    run = (
        postgresql.insert(runs)
        .from_select([*_GIVEN, "created_at"], sa.select(*given, moment()))
        .on_conflict_do_nothing()
        .returning(runs.c.id, runs.c.workflow, runs.c.trigger, runs.c.created_at.label("now"))
        .cte("run")
    )
    now, pending = run.c.now, fixed(RunStatus.PENDING.value)
    state = {
        "run_id": run.c.id,
        "workflow": run.c.workflow,
        "trigger": run.c.trigger,
        "status": pending,
        "created_at": now,
        "updated_at": now,
    }
    branch = {
        "run_id": run.c.id,
        "slot": fixed(0),
        "step": sa.bindparam("first_step", type_=branches.c.step.type),
        "visit": fixed(1),
        "status": fixed(StepRunStatus.PENDING.value),
        "attempt": fixed(0),
        "lost": fixed(0),
        "fencing_token": fixed(0),
        "horizon": fixed(0),
        "resends": fixed(0),
        "created_at": now,
        "ready_at": now,
        "due_at": now + sa.bindparam("grace", type_=sa.Interval()),
        "rung_at": now,
        "touched_at": now,
    }
    return sa.select(now).add_cte(
        insertion(run_states, state).cte("state"),
        insertion(branches, branch).cte("branch"),
    )


_START: Final = Prepared(_statement())


def start(
    through: sa.Connection | Alone, run: NewRun, *, grace: timedelta, at: datetime | None
) -> datetime | None:
    """Insert *run* as pending, to be rung again after *grace*, and return the time.

    The time is *at*, or the database's. None means that nothing was inserted.
    """
    values = {name: getattr(run, name) for name in _GIVEN}
    row = _START.first(through, {**values, "first_step": run.step, "grace": grace, "at": at})
    return None if row is None else row[0].astimezone(UTC)

"""The first claim of a run in one statement: lock it, claim its step, set it going, read it.

What `engine.claim` otherwise does with six statements, PostgreSQL can do in
one, for the ordinary message: it is about the step with which a run begins,
and nobody has tried it yet. Every part depends on the one before, so the
statement does all of it or nothing, and being alone it is its own transaction.
Nothing has ended yet in such a run, so there is no history to be read.

No row means that something else holds, and then the general path looks at
everything. The lock is only taken when the row looks right beforehand, so a
message that does not find it so costs no commit here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from flask_squidmesh.lifecycle.states import (
    RUN,
    STEP_RUN,
    RunEvent,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
)
from flask_squidmesh.store.models import branches, run_states, runs
from flask_squidmesh.store.prepared import Alone, Prepared, fixed, is_keyed, moment, status_of

_CLAIMED: Final = STEP_RUN[(StepRunStatus.PENDING, StepRunEvent.CLAIM)]
_STARTED: Final = RUN[(RunStatus.PENDING, RunEvent.START)]


@dataclass(frozen=True, slots=True)
class FirstClaim:
    """What the claim has found and written; `before` is how the run stood."""

    before: RunStatus
    now: datetime
    fingerprint: str
    trigger: str
    payload: str
    schedule: str | None
    cron_window: datetime | None
    idempotency_key: str | None
    request_digest: str | None
    replayed_from_run_id: str | None
    run_created_at: datetime
    created_at: datetime
    ready_at: datetime
    rung_at: datetime | None
    due_at: datetime


def _is_untried(run: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that the step with which *run* begins waits for its first attempt."""
    return sa.and_(
        branches.c.run_id == run.c.run_id,
        branches.c.slot == fixed(0),
        branches.c.step == sa.bindparam("in_step"),
        status_of(branches) == fixed(StepRunStatus.PENDING.value),
        branches.c.fencing_token == fixed(0),
        branches.c.attempt == fixed(0),
        branches.c.horizon == fixed(0),
    )


def _locked() -> sa.CTE:
    known = sa.bindparam("fingerprints", type_=postgresql.ARRAY(sa.Text))
    claimable = (fixed(RunStatus.PENDING.value), fixed(RunStatus.RUNNING.value))
    return (
        sa.select(
            run_states.c.run_id,
            run_states.c.status.label("before"),
            moment().label("now"),
            runs.c.fingerprint,
            runs.c.trigger,
            runs.c.payload,
            runs.c.schedule,
            runs.c.cron_window,
            runs.c.idempotency_key,
            runs.c.request_digest,
            sa.cast(runs.c.replayed_from_run_id, sa.Text).label("replayed_from_run_id"),
            runs.c.created_at.label("run_created_at"),
        )
        .select_from(run_states)
        .join(runs, runs.c.id == run_states.c.run_id)
        .join(branches, _is_untried(run_states))
        .where(
            run_states.c.run_id == sa.bindparam("in_run_id"),
            status_of(run_states).in_(claimable),
            runs.c.fingerprint == sa.any_(known),
        )
        .with_for_update(of=run_states)
        .cte("locked")
    )


def _statement() -> sa.Select[Any]:
    locked = _locked()
    claimed = (
        sa.update(branches)
        .where(is_keyed(branches, locked), _is_untried(locked))
        .values(
            status=fixed(_CLAIMED.value),
            attempt=fixed(1),
            fencing_token=fixed(1),
            resends=fixed(0),
            due_at=locked.c.now + sa.bindparam("lease", type_=sa.Interval()),
            started_at=locked.c.now,
            touched_at=locked.c.now,
            worker=sa.bindparam("by_worker"),
        )
        .returning(
            *(branches.c[name] for name in ("created_at", "ready_at", "rung_at", "due_at")),
            *locked.c,
        )
        .cte("claimed")
    )
    started = (
        sa.update(run_states)
        .where(
            is_keyed(run_states, claimed),
            status_of(run_states) == fixed(RunStatus.PENDING.value),
        )
        .values(
            status=fixed(_STARTED.value),
            last_error=sa.null(),
            updated_at=claimed.c.now,
            finished_at=sa.null(),
        )
    )
    told = (claimed.c[name] for name in FirstClaim.__slots__)
    return sa.select(*told).add_cte(started.cte("started"))


_CLAIM: Final = Prepared(_statement())


def claim_first(
    through: sa.Connection | Alone,
    run_id: str,
    step: str,
    *,
    fingerprints: Sequence[str],
    worker: str,
    lease: timedelta,
    at: datetime | None,
) -> FirstClaim | None:
    """Claim *step*, with which the run begins, and return what was found.

    Only for runs of the definitions with these *fingerprints*. The time is
    *at*, or the database's. None means that nothing was done.
    """
    values = {
        "in_run_id": run_id,
        "in_step": step,
        "fingerprints": list(fingerprints),
        "by_worker": worker,
        "lease": lease,
        "at": at,
    }
    row = _CLAIM.first(through, values)
    if row is None:
        return None
    before, *found = (_in_utc(value) for value in row)
    return FirstClaim(RunStatus(before), *found)


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value

"""The first claim of a run in one statement: lock it, claim its step, set it going, read it.

What `engine.claim` otherwise does with six statements, PostgreSQL can do in
one, for the ordinary message: it is about the step with which a run begins,
and nobody has tried it yet. Every part depends on the one before, so the
statement does all of it or nothing, and being alone it is its own transaction.
Nothing has ended yet in such a run, so there is no history to be read.

No row means that something else holds, and then the general path looks at
everything. The lock is only taken when the row looks right beforehand, so a
message that does not find it so costs no commit here.

The same parts belong to the statement that ends a run and goes on with another
(`store.straight`): two runs in one transaction, which therefore waits for the
first only, and leaves the second alone when anybody has locked a row of it.
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
from flask_squidmesh.store.prepared import (
    Alone,
    Prepared,
    fixed,
    has_row,
    is_keyed,
    moment,
    status_of,
)

_CLAIMED: Final = STEP_RUN[(StepRunStatus.PENDING, StepRunEvent.CLAIM)]
_STARTED: Final = RUN[(RunStatus.PENDING, RunEvent.START)]
_BOUND: Final = "new_run_id"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The step a run may begin with, wanted if the run is of one of these definitions."""

    run_id: str
    step: str
    fingerprints: Sequence[str]
    worker: str
    lease: timedelta

    def values(self) -> dict[str, Any]:
        """Return what the parts of a claim have bound."""
        return {
            _BOUND: self.run_id,
            "new_step": self.step,
            "fingerprints": list(self.fingerprints),
            "new_worker": self.worker,
            "new_lease": self.lease,
        }


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

    @classmethod
    def of(cls, row: Sequence[Any]) -> FirstClaim:
        """Return what a row of `Parts.told` says."""
        before, *found = (_in_utc(value) for value in row)
        return cls(RunStatus(before), *found)


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a statement that claim: the branch is `claimed`, the run is `started`."""

    claimed: sa.CTE
    started: sa.CTE

    @property
    def told(self) -> list[sa.ColumnElement[Any]]:
        """The columns for `FirstClaim.of`, from `claimed`."""
        return [self.claimed.c[name] for name in FirstClaim.__slots__]


def parts(after: sa.CTE | None = None) -> Parts:
    """Return what claims a step for a `Wanted`.

    With *after* it is done once that part has a row, at the time `now` in it,
    and without waiting for a lock.
    """
    found = _found(after)
    mine: Any = branches.alias("b")
    claimed = (
        sa.update(mine)
        .where(is_keyed(mine, found, bound=_BOUND), *_is_untried(mine))
        .values(
            status=fixed(_CLAIMED.value),
            attempt=fixed(1),
            fencing_token=fixed(1),
            resends=fixed(0),
            due_at=found.c.now + sa.bindparam("new_lease", type_=sa.Interval()),
            started_at=found.c.now,
            touched_at=found.c.now,
            worker=sa.bindparam("new_worker", type_=branches.c.worker.type),
        )
        .returning(
            *(mine.c[name] for name in ("created_at", "ready_at", "rung_at", "due_at")), *found.c
        )
        .cte("claimed")
    )
    state: Any = run_states.alias("s")
    started = (
        sa.update(state)
        .where(
            is_keyed(state, claimed, bound=_BOUND),
            status_of(state) == fixed(RunStatus.PENDING.value),
        )
        .values(
            status=fixed(_STARTED.value),
            last_error=sa.null(),
            updated_at=claimed.c.now,
            finished_at=sa.null(),
        )
        .cte("started")
    )
    return Parts(claimed, started)


def _is_untried(branch: sa.FromClause) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that a run's *branch* waits for its first attempt at the first step."""
    return [
        branch.c.slot == fixed(0),
        branch.c.step == sa.bindparam("new_step", type_=branches.c.step.type),
        status_of(branch) == fixed(StepRunStatus.PENDING.value),
        branch.c.fencing_token == fixed(0),
        branch.c.attempt == fixed(0),
        branch.c.horizon == fixed(0),
    ]


def _found(after: sa.CTE | None) -> sa.CTE:
    state, run, branch = run_states.alias("s"), runs.alias("r"), branches.alias("b")
    known = sa.bindparam("fingerprints", type_=postgresql.ARRAY(sa.Text))
    claimable = (fixed(RunStatus.PENDING.value), fixed(RunStatus.RUNNING.value))
    now = moment() if after is None else sa.select(after.c.now).scalar_subquery()
    query = (
        sa.select(
            state.c.run_id,
            state.c.status.label("before"),
            now.label("now"),
            run.c.fingerprint,
            run.c.trigger,
            run.c.payload,
            run.c.schedule,
            run.c.cron_window,
            run.c.idempotency_key,
            run.c.request_digest,
            sa.cast(run.c.replayed_from_run_id, sa.Text).label("replayed_from_run_id"),
            run.c.created_at.label("run_created_at"),
        )
        .select_from(state)
        .join(run, run.c.id == state.c.run_id)
        .join(branch, sa.and_(branch.c.run_id == state.c.run_id, *_is_untried(branch)))
        .where(
            state.c.run_id == sa.bindparam(_BOUND, type_=run_states.c.run_id.type),
            status_of(state).in_(claimable),
            run.c.fingerprint == sa.any_(known),
        )
    )
    if after is None:
        query = query.with_for_update(of=state)
    else:
        # Not the branch's row either: a ticker that rings for many has locked it, and may be
        # about to lock one that this transaction has.
        query = query.where(has_row(after)).with_for_update(of=(state, branch), skip_locked=True)
    return query.cte("found")


def _statement() -> sa.Select[Any]:
    claim = parts()
    return sa.select(*claim.told).add_cte(claim.started)


_CLAIM: Final = Prepared(_statement())


def claim_first(
    through: sa.Connection | Alone, wanted: Wanted, *, at: datetime | None
) -> FirstClaim | None:
    """Claim the step that is wanted, and return what was found.

    The time is *at*, or the database's. None means that nothing was done.
    """
    row = _CLAIM.first(through, {**wanted.values(), "at": at})
    return None if row is None else FirstClaim.of(row)

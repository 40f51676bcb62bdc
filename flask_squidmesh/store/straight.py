"""The straight path in one statement: a step has succeeded, and the run goes on or is over.

What `engine.settle` otherwise does with four or five statements, PostgreSQL can
do in one: take the run's lock, move the branch if its lease is still held, and
insert attempt and step run if it was moved. Every part depends on the one
before, so the statement does all of it or nothing, and being alone it is its
own transaction: one round trip and one commit per step. When a run ends while
others wait to begin, the first claim of one of them can be a part of it, too.

The caller decides first, for a run that is `running`; the statement finds out
whether it is. No row means that something else holds, and then the general path
looks at everything anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import (
    ATTEMPT,
    RUN,
    STEP_RUN,
    AttemptEvent,
    AttemptStatus,
    RunEvent,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
)
from flask_squidmesh.store import claiming
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.models import attempts, branches, run_states, step_runs
from flask_squidmesh.store.prepared import (
    Alone,
    Prepared,
    fixed,
    fixed_interval,
    insertion,
    is_keyed,
    moment,
    status_of,
)

_RUNNING: Final = fixed(StepRunStatus.RUNNING.value)
_BRANCH: Final[Any] = branches.alias("b")
_STATE: Final[Any] = run_states.alias("s")


@dataclass(frozen=True, slots=True)
class Ending:
    """How the attempt in `branch` ended: as number `ordinal` of the run, with this output."""

    branch: Branch
    ordinal: int
    output: str | None


def _locked() -> sa.CTE:
    return (
        sa.select(_STATE.c.run_id, moment().label("now"))
        .where(
            _STATE.c.run_id == sa.bindparam("in_run_id"),
            status_of(_STATE) == fixed(RunStatus.RUNNING.value),
        )
        .with_for_update()
        .cte("locked")
    )


def _held(locked: sa.CTE) -> sa.ColumnElement[bool]:
    """Return the condition that the lease is still held."""
    return sa.and_(
        is_keyed(_BRANCH, locked),
        _BRANCH.c.slot == sa.bindparam("in_slot"),
        _BRANCH.c.fencing_token == sa.bindparam("with_token"),
        status_of(_BRANCH) == _RUNNING,
    )


def _history(moved: sa.CTE) -> tuple[sa.Insert, sa.Insert]:
    """Return the inserts of the attempt and the step run that ended, one row if *moved* has one."""
    succeeded = ATTEMPT[(AttemptStatus.RUNNING, AttemptEvent.SUCCEED)].value
    completed = STEP_RUN[(StepRunStatus.RUNNING, StepRunEvent.COMPLETE)].value
    attempt = {
        "run_id": moved.c.run_id,
        "ordinal": _bound("ordinal", attempts.c.ordinal),
        "step": _bound("ended_step", attempts.c.step),
        "visit": _bound("ended_visit", attempts.c.visit),
        "number": _bound("ended_attempt", attempts.c.number),
        "status": fixed(succeeded),
        "fencing_token": _bound("with_token", attempts.c.fencing_token),
        "worker": _bound("ended_worker", attempts.c.worker),
        "started_at": _bound("ended_started_at", attempts.c.started_at),
        "finished_at": moved.c.now,
    }
    step_run = {
        "run_id": moved.c.run_id,
        "step": _bound("ended_step", step_runs.c.step),
        "visit": _bound("ended_visit", step_runs.c.visit),
        "slot": _bound("in_slot", step_runs.c.slot),
        "ordinal": _bound("ordinal", step_runs.c.ordinal),
        "horizon": _bound("ended_horizon", step_runs.c.horizon),
        "status": fixed(completed),
        "outcome": fixed("ok"),
        "output": _bound("output", step_runs.c.output),
        "created_at": _bound("ended_created_at", step_runs.c.created_at),
        "finished_at": moved.c.now,
    }
    return (
        insertion(attempts, attempt),
        insertion(step_runs, step_run),
    )


def _bound(name: str, column: sa.Column[Any]) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=column.type)


@cache
def _go_on(lease: timedelta) -> Prepared:
    locked = _locked()
    long_enough = _BRANCH.c.due_at > locked.c.now + fixed_interval(lease * 2 / 3)
    moved = (
        sa.update(_BRANCH)
        .where(_held(locked))
        .values(
            step=sa.bindparam("next_step"),
            visit=sa.bindparam("next_visit"),
            status=_RUNNING,
            attempt=fixed(1),
            lost=fixed(0),
            fencing_token=_BRANCH.c.fencing_token + fixed(1),
            horizon=sa.bindparam("ordinal"),
            resends=fixed(0),
            created_at=locked.c.now,
            ready_at=locked.c.now,
            # An unchanged `due_at` keeps the update off the table's index.
            due_at=sa.case(
                (long_enough, _BRANCH.c.due_at),
                else_=locked.c.now + fixed_interval(lease),
            ),
            rung_at=sa.null(),
            started_at=locked.c.now,
            touched_at=locked.c.now,
            worker=sa.bindparam("next_worker"),
        )
        .returning(_BRANCH.c.run_id, locked.c.now, _BRANCH.c.due_at)
        .cte("moved")
    )
    attempt, step_run = _history(moved)
    return Prepared(
        sa.select(moved.c.now, moved.c.due_at).add_cte(
            attempt.cte("attempt"), step_run.cte("step_run")
        )
    )


@dataclass(frozen=True, slots=True)
class _Completion:
    """The parts of a statement that complete a run: its branch is `moved`, the `others` follow."""

    moved: sa.CTE
    others: tuple[sa.CTE, ...]


def _completion() -> _Completion:
    locked = _locked()
    moved = (
        sa.delete(_BRANCH)
        .where(_held(locked))
        .returning(_BRANCH.c.run_id, locked.c.now)
        .cte("moved")
    )
    attempt, step_run = _history(moved)
    over = (
        sa.update(_STATE)
        .where(is_keyed(_STATE, moved))
        .values(
            status=fixed(RUN[(RunStatus.RUNNING, RunEvent.COMPLETE)].value),
            last_error=sa.null(),
            updated_at=moved.c.now,
            finished_at=moved.c.now,
        )
    )
    return _Completion(moved, (attempt.cte("attempt"), step_run.cte("step_run"), over.cte("over")))


def _complete_statement() -> sa.Select[Any]:
    completion = _completion()
    return sa.select(completion.moved.c.now).add_cte(*completion.others)


def _complete_and_claim_statement() -> sa.Select[Any]:
    completion = _completion()
    moved = completion.moved
    claim = claiming.parts(after=moved)
    return (
        sa.select(moved.c.now, *claim.told)
        .select_from(moved.outerjoin(claim.claimed, sa.true()))
        .add_cte(*completion.others, claim.started)
    )


_COMPLETE: Final = Prepared(_complete_statement())
_COMPLETE_AND_CLAIM: Final = Prepared(_complete_and_claim_statement())


def go_on(
    through: sa.Connection | Alone,
    ending: Ending,
    *,
    step: str,
    visit: int,
    worker: str,
    lease: timedelta,
    at: datetime | None,
) -> tuple[datetime, datetime] | None:
    """End the attempt and claim the next step run; return the time and the end of the lease.

    A lease of which two thirds are left is kept. The time is *at*, or the
    database's. None means that nothing was done.
    """
    values = {
        **_values(ending, at),
        "next_step": step,
        "next_visit": visit,
        "next_worker": worker,
    }
    row = _go_on(lease).first(through, values)
    return None if row is None else (row[0].astimezone(UTC), row[1].astimezone(UTC))


def complete(
    through: sa.Connection | Alone, ending: Ending, *, at: datetime | None
) -> datetime | None:
    """End the attempt and the run with it; return the time. None means that nothing was done."""
    row = _COMPLETE.first(through, _values(ending, at))
    return None if row is None else row[0].astimezone(UTC)


def complete_and_claim(
    through: sa.Connection | Alone,
    ending: Ending,
    wanted: claiming.Wanted,
    *,
    at: datetime | None,
) -> tuple[datetime, claiming.FirstClaim | None] | None:
    """End the attempt and the run with it, and claim the step with which another run begins.

    Returns the time, and what the claim has found: None when the other run is
    not, or not now, to be had. None instead of both means that nothing was done.
    """
    row = _COMPLETE_AND_CLAIM.first(through, {**_values(ending, at), **wanted.values()})
    if row is None:
        return None
    now, *found = row
    claimed = None if found[0] is None else claiming.FirstClaim.of(found)
    return now.astimezone(UTC), claimed


def _values(ending: Ending, at: datetime | None) -> dict[str, Any]:
    branch = ending.branch
    return {
        "at": at,
        "in_run_id": branch.run_id,
        "in_slot": branch.slot,
        "with_token": branch.fencing_token,
        "ordinal": ending.ordinal,
        "output": ending.output,
        "ended_step": branch.step,
        "ended_visit": branch.visit,
        "ended_attempt": branch.attempt,
        "ended_worker": branch.worker,
        "ended_horizon": branch.horizon,
        "ended_started_at": branch.started_at,
        "ended_created_at": branch.created_at,
    }

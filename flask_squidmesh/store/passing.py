"""From one branch of a run to the next in one statement.

The worker that ends a branch takes another one in the same transaction. On
PostgreSQL all of it is one statement: take the run's lock, then the branch that
is held, then the next one; count the join down; and then, if all of that was as
expected, remove the one, claim the other, and insert attempt and step run.
Every part depends on the one before, and nothing is written before all is known
to be right, so the statement does everything or nothing.

A statement sees what was committed when it began, which may be before it got
the lock; only rows that it locks or changes are seen as they are. The number of
the attempt follows from both: the last one it sees, and how far the join was
counted down since then. Should it be taken nevertheless, because an attempt
ended that counted another join down, or none, then the key of `attempts`
refuses it, and nothing is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from flask_squidmesh.lifecycle.states import (
    ATTEMPT,
    STEP_RUN,
    AttemptEvent,
    AttemptStatus,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
    active,
)
from flask_squidmesh.store import dialect
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.models import (
    attempts,
    branches,
    joins,
    run_states,
    step_runs,
)
from flask_squidmesh.store.prepared import (
    Alone,
    Prepared,
    fixed,
    fixed_interval,
    has_row,
    insertion,
    is_keyed,
    moment,
    status_of,
)

_PENDING: Final = StepRunStatus.PENDING.value
_RUNNING: Final = StepRunStatus.RUNNING.value
# The server expects one of two hundred rows to equal something it knows nothing of, and nearly all
# to differ from it. Expecting many it reads them in their order and stops at the first; expecting
# one it may collect and sort all the branches of a run, once for each of them.
_NOT_PENDING: Final = tuple(fixed(other) for other in active(STEP_RUN) if other != _PENDING)
_ENDING: Final = (
    *("run_id", "slot", "step", "visit", "attempt", "fencing_token", "horizon"),
    *("created_at", "started_at", "worker"),
)
"""The columns of a branch that its history is written from."""
_TIMES: Final = ("created_at", "ready_at", "rung_at")
_TOLD: Final = (
    *("step", "slot", "visit", "attempt", "lost", "fencing_token", "horizon"),
    *_TIMES,
)
"""What is not known of a branch from its being claimed."""

Which = Literal["named", "any", "not excluded"]


@dataclass(frozen=True, slots=True)
class Ending:
    """The attempt in `branch` has succeeded with this output, and `join` misses one step fewer."""

    branch: Branch
    output: str | None
    join: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to go on with: the step in `slot`, or any in a later slot but those `excluded`."""

    step: str | None = None
    slot: int = 0
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of it: the time, the number of the attempt that ended, and the branch now held."""

    now: datetime
    ordinal: int
    claimed: Branch


def pass_on(
    through: sa.Connection | Alone,
    ending: Ending,
    wanted: Wanted,
    *,
    worker: str,
    lease: timedelta,
    at: datetime | None,
) -> Passed | None:
    """End the attempt and claim the branch that is wanted, for the time of *lease*.

    The time is *at*, or the database's. None means that nothing was done: the
    run does not run, the lease is gone, the join would become ready, no such
    branch waits, or the number of the attempt was taken meanwhile.
    """
    values: dict[str, Any] = {
        "at": at,
        "in_run_id": ending.branch.run_id,
        "in_slot": ending.branch.slot,
        "with_token": ending.branch.fencing_token,
        "join": ending.join,
        "output": ending.output,
        "next_worker": worker,
    }
    which: Which = "any"
    if wanted.step is not None:
        which = "named"
        values |= {"next_slot": wanted.slot, "next_step": wanted.step}
    elif wanted.excluded:
        which = "not excluded"
        values["excluded"] = list(wanted.excluded)
    try:
        row = _pass_on(which, lease).first(through, values)
    except sa.exc.IntegrityError as error:
        if isinstance(through, Alone) and dialect.is_passing(error):
            return None
        raise
    if row is None:
        return None
    now, ordinal, *told = row
    now = now.astimezone(UTC)
    known: dict[str, Any] = dict(zip(_TOLD, told, strict=True))
    for name in _TIMES:
        known[name] = dialect.aware(known[name])
    claimed = Branch(
        run_id=ending.branch.run_id,
        status=STEP_RUN[(StepRunStatus.PENDING, StepRunEvent.CLAIM)],
        **known,
        resends=0,
        due_at=now + lease,
        started_at=now,
        touched_at=now,
        worker=worker,
    )
    return Passed(now, ordinal, claimed)


def _of_run(table: sa.FromClause) -> sa.ColumnElement[bool]:
    column = table.c.run_id
    return column == sa.bindparam("in_run_id", type_=column.type)


def _held() -> sa.CTE:
    state, mine = run_states.alias("state"), branches.alias("mine")
    return (
        sa.select(*(mine.c[name] for name in _ENDING))
        .select_from(state.join(mine, mine.c.run_id == state.c.run_id))
        .where(
            _of_run(state),
            status_of(state) == fixed(RunStatus.RUNNING.value),
            mine.c.slot == sa.bindparam("in_slot"),
            mine.c.fencing_token == sa.bindparam("with_token"),
            status_of(mine) == fixed(_RUNNING),
        )
        # In this order: the run first. Each is looked at again if it had to be waited for.
        .with_for_update(of=(state, mine))
        .cte("held")
    )


def _next(held: sa.CTE, which: Which) -> sa.CTE:
    other = branches.alias("other")
    query = sa.select(other.c.slot).where(
        has_row(held), _of_run(other), status_of(other).not_in(_NOT_PENDING)
    )
    if which == "named":
        query = query.where(
            other.c.slot == sa.bindparam("next_slot"), other.c.step == sa.bindparam("next_step")
        )
    else:
        query = query.where(other.c.slot > sa.bindparam("in_slot")).order_by(other.c.slot)
    if which == "not excluded":
        names = sa.bindparam("excluded", type_=postgresql.ARRAY(sa.Text))
        query = query.where(other.c.step != sa.all_(names))
    # A ticker that rings holds the row for a moment, and somebody frozen for ever.
    return query.limit(fixed(1)).with_for_update(skip_locked=True).cte("next")


def _one(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    """Return the value of *column* in the only row of its part, null when there is none."""
    return sa.select(column).scalar_subquery()


def _ended(held: sa.CTE, following: sa.CTE) -> sa.CTE:
    """Count the join down, and return the time and the number of the attempt, with what is held."""
    at_join = sa.and_(_of_run(joins), joins.c.step == sa.bindparam("join"))
    counted = (
        sa.update(joins)
        .where(has_row(following), at_join, joins.c.missing > fixed(1))
        .values(missing=joins.c.missing - fixed(1))
        .returning(joins.c.missing)
        .cte("counted")
    )
    # What the statement sees, while `counted` has what was found once the lock was there.
    seen = sa.select(joins.c.missing).where(at_join).scalar_subquery()
    last = sa.select(sa.func.max(attempts.c.ordinal)).where(_of_run(attempts)).scalar_subquery()
    return (
        sa.select(
            *held.c,
            moment().label("now"),
            (sa.func.coalesce(last, fixed(0)) + seen - counted.c.missing).label("ordinal"),
            following.c.slot.label("next_slot"),
        )
        .select_from(held.join(following, sa.true()).join(counted, sa.true()))
        .cte("ended")
    )


@cache
def _pass_on(which: Which, lease: timedelta) -> Prepared:
    held = _held()
    following = _next(held, which)
    ended = _ended(held, following)
    gone = sa.delete(branches).where(
        has_row(ended), _of_run(branches), branches.c.slot == sa.bindparam("in_slot")
    )
    chosen: Any = branches.alias("chosen")
    claimed = (
        sa.update(chosen)
        # Looked up before and not joined, or all branches of the run would be looked at.
        .where(is_keyed(chosen, ended), chosen.c.slot == _one(ended.c.next_slot))
        .returning(*(chosen.c[name] for name in _TOLD))
        .values(
            status=fixed(STEP_RUN[(StepRunStatus.PENDING, StepRunEvent.CLAIM)].value),
            attempt=chosen.c.attempt + fixed(1),
            fencing_token=chosen.c.fencing_token + fixed(1),
            resends=fixed(0),
            due_at=ended.c.now + fixed_interval(lease),
            started_at=ended.c.now,
            touched_at=ended.c.now,
            worker=sa.bindparam("next_worker", type_=branches.c.worker.type),
        )
    )
    attempt = {
        **{name: ended.c[name] for name in ("run_id", "ordinal", "step", "visit")},
        "number": ended.c.attempt,
        "status": fixed(ATTEMPT[(AttemptStatus.RUNNING, AttemptEvent.SUCCEED)].value),
        **{name: ended.c[name] for name in ("fencing_token", "worker", "started_at")},
        "finished_at": ended.c.now,
    }
    step_run = {
        **{name: ended.c[name] for name in ("run_id", "step", "visit", "slot", "ordinal")},
        "horizon": ended.c.horizon,
        "status": fixed(STEP_RUN[(StepRunStatus.RUNNING, StepRunEvent.COMPLETE)].value),
        "outcome": fixed("ok"),
        "output": sa.bindparam("output", type_=step_runs.c.output.type),
        "created_at": ended.c.created_at,
        "finished_at": ended.c.now,
    }
    taken = claimed.cte("claimed")
    return Prepared(
        sa.select(ended.c.now, ended.c.ordinal, *(taken.c[name] for name in _TOLD))
        .select_from(ended.join(taken, sa.true()))
        .add_cte(
            gone.cte("gone"),
            insertion(attempts, attempt).cte("attempt"),
            insertion(step_runs, step_run).cte("step_run"),
        )
    )

"""Runs that nobody has begun: what a worker that is free looks for by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store.models import branches, run_states

_UNBEGUN: Final = (
    # `run_states` alone says which and in which order, off its index by status.
    sa.select(run_states.c.run_id, branches.c.step)
    .join(branches, branches.c.run_id == run_states.c.run_id)
    .where(
        run_states.c.status == RunStatus.PENDING.value,
        run_states.c.workflow.in_(sa.bindparam("workflows", expanding=True)),
        branches.c.step.in_(sa.bindparam("steps", expanding=True)),
        branches.c.status == StepRunStatus.PENDING.value,
    )
    .order_by(run_states.c.created_at, run_states.c.run_id)
    .limit(sa.bindparam("at_most"))
    # Who holds one may be frozen, and every worker would come to wait for it.
    .with_for_update(skip_locked=True)
)


def list_unbegun(
    connection: sa.Connection, *, workflows: Sequence[str], steps: Sequence[str], limit: int
) -> list[tuple[str, str]]:
    """Return run and step of what was started first and not begun, of these workflows and steps.

    What somebody has locked is left out. To be executed in a short transaction:
    until its end the rows are locked here.
    """
    values = {"workflows": workflows, "steps": steps, "at_most": limit}
    return [(row[0], row[1]) for row in connection.execute(_UNBEGUN, values)]

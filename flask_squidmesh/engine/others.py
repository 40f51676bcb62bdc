"""What the other branches of a run are doing, as far as a decision needs to know."""

from __future__ import annotations

from flask_squidmesh.definition.spec import COMPLETE, Definition
from flask_squidmesh.lifecycle.facts import Others
from flask_squidmesh.store import branches, joins, transaction
from flask_squidmesh.store.branches import Branch


def others_of(connection: transaction.Connection, branch: Branch, definition: Definition) -> Others:
    """Return whether other branches move, wait for retries, or are not there."""
    if definition.mode == "transition":
        return "none"
    if branches.has_moving_others(connection, branch):
        return "active"
    return "retrying" if branches.has_others(connection, branch) else "none"


def missing_of(
    connection: transaction.Connection, branch: Branch, definition: Definition
) -> dict[str, int]:
    """Return the counters of the joins that wait for the branch's step."""
    if definition.mode == "transition":
        return {}
    steps = definition.steps_by_name
    waiting = definition.dependents[branch.step] or (COMPLETE,)
    # What waits for one step has no counter, and a wide fan-out is all of that.
    counted = [n for n in waiting if n == COMPLETE or len(steps[n].depends_on) > 1]
    return joins.missing(connection, branch.run_id, counted) if counted else {}

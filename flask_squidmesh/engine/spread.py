"""How the messages of a wide fan-out are spread over time.

A worker that ends one branch of a run goes on with another (`siblings`), so a
fan-out needs as many messages as there are workers to wake, not as many as it
has branches: each that is one too many is a message about a branch that has
ended. So the first few branches are rung at once, and whoever comes for one
rings for more (`waking`). The others stand with the time at which the ticker
rings them if nobody has come by then, so many of them at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.engine.scene import GRACES
from flask_squidmesh.lifecycle.decide import EXECUTABLE
from flask_squidmesh.lifecycle.states import StepRunStatus
from flask_squidmesh.store.branches import Branch

WOKEN: Final = 16
"""How many branches that begin together are rung at once."""

AT_ONCE: Final = 100
"""How many of them the ticker rings at most at the end of every grace, if nobody came by."""


def spread(new: Sequence[Branch], definition: Definition) -> list[Branch]:
    """Return branches that begin together, those to be rung now with `rung_at`.

    Whoever ends a branch without going on with another rings for one that was
    not rung, so that no fewer workers are at it than were woken. A timer that
    a message has to begin is always rung: nobody else would begin it.
    """
    spreading = [b for b in new if _is_left_to_siblings(b, definition)]
    if len(spreading) <= WOKEN:
        return list(new)
    numbers = {b.slot: number for number, b in enumerate(spreading)}
    return [_at_turn(branch, numbers.get(branch.slot, 0)) for branch in new]


def _is_left_to_siblings(branch: Branch, definition: Definition) -> bool:
    kind = definition.steps_by_name[branch.step].kind
    return branch.status == StepRunStatus.PENDING and kind in EXECUTABLE


def _at_turn(branch: Branch, number: int) -> Branch:
    if number < WOKEN:
        return branch
    turn = max(1, number // AT_ONCE)
    return replace(branch, rung_at=None, due_at=branch.created_at + turn * GRACES[0])

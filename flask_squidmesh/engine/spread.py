"""How the messages of a wide fan-out are spread over time.

A worker that ends one branch of a run goes on with another (`siblings`), so a
fan-out needs as many messages as there are workers to wake, not as many as it
has branches. The first of them are rung at once. The others are not; each
stands with the time at which the ticker rings it if nobody has come by then,
so many of them at a time.
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

AT_ONCE: Final = 100
"""How many branches that begin together are rung at once, and then again in every grace."""


def spread(new: Sequence[Branch], definition: Definition) -> list[Branch]:
    """Return branches that begin together, those to be rung now with `rung_at`.

    Whoever ends a branch without going on with another rings for one that was
    not rung, so that no fewer workers are at it than were woken. A timer that
    a message has to begin is always rung: nobody else would begin it.
    """
    spreading = [b for b in new if _is_left_to_siblings(b, definition)]
    if len(spreading) <= AT_ONCE:
        return list(new)
    turns = {b.slot: number // AT_ONCE for number, b in enumerate(spreading)}
    return [_at_turn(branch, turns.get(branch.slot, 0)) for branch in new]


def _is_left_to_siblings(branch: Branch, definition: Definition) -> bool:
    kind = definition.steps_by_name[branch.step].kind
    return branch.status == StepRunStatus.PENDING and kind in EXECUTABLE


def _at_turn(branch: Branch, turn: int) -> Branch:
    if turn == 0:
        return branch
    return replace(branch, rung_at=None, due_at=branch.created_at + turn * GRACES[0])

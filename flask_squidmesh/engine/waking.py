"""Wakes workers for the branches of a wide fan-out that nobody was told of.

Only the first branches of a fan-out are rung when it begins (`spread`). Each
worker that comes for one of them wakes two more, and one that gives way wakes
another in its place: in a few rounds as many are at it as there are free ones,
and what is left in the queue at the end is no more than twice as many.
"""

from __future__ import annotations

from typing import Final

from flask_squidmesh.engine.news import Ring
from flask_squidmesh.engine.scene import GRACES, Scene
from flask_squidmesh.engine.spread import WOKEN
from flask_squidmesh.store import branches, siblings

_BY_EACH: Final = 2


def wake_more(scene: Scene) -> None:
    """Ring for others, for a worker that a message has brought to a branch of the run."""
    definition = scene.definition
    if definition.mode == "dependency" and len(definition.steps) > WOKEN:
        ring_for_others(scene, _BY_EACH)


def ring_for_others(scene: Scene, count: int) -> None:
    """Ring for up to *count* branches of the run that wait and were not rung."""
    after = scene.at.slot
    for _ in range(count):
        found = siblings.find_pending(scene.connection, scene.run.id, after=after, unrung=True)
        if found is None or not branches.ring(
            scene.connection, found, now=scene.now, again_at=scene.now + GRACES[0]
        ):
            return
        scene.rings.append(Ring(found.run_id, found.step))
        after = found.slot

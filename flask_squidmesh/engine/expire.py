"""What happens to an attempt whose worker vanished."""

from __future__ import annotations

from flask_squidmesh.engine import errors
from flask_squidmesh.engine.apply import apply
from flask_squidmesh.engine.others import others_of
from flask_squidmesh.engine.scene import Scene
from flask_squidmesh.lifecycle.decide import decide
from flask_squidmesh.lifecycle.facts import Facts, Lost
from flask_squidmesh.store import history


def abandon(scene: Scene) -> None:
    """End the running attempt of the scene's branch as abandoned, and do what follows."""
    branch = scene.branch
    if branch is None:
        raise RuntimeError("only a branch can be abandoned")
    scene.ordinal = history.last_ordinal(scene.connection, scene.run.id) + 1
    error = errors.make(
        "worker_lost",
        f"the worker {branch.worker} that executed step {branch.step!r} was not heard of until its "
        "lease ran out; see its log for why it stopped",
        details={"worker": branch.worker, "attempt": branch.attempt},
        retryable=True,
    )
    facts = Facts(
        definition=scene.definition,
        limits=scene.runtime.limits,
        run=scene.status,
        step=branch.step,
        visit=branch.visit,
        status=branch.status,
        attempt=branch.attempt,
        lost=branch.lost,
        others=others_of(scene.connection, branch, scene.definition),
        visits=history.visits_of(scene.connection, scene.run.id)
        if scene.definition.mode == "transition"
        else {},
    )
    apply(scene, decide(facts, Lost(error)))

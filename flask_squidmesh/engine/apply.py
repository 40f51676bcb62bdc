"""Carries effects out, within the transaction that holds the run's lock.

Here are the effects on branches; those that record what has happened and move
the run stand in `record`. The effect on the branch comes first: its guarded
write finds out whether the lease is still held, and `Fenced` rolls everything
back if not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import singledispatch
from typing import Final

from flask_squidmesh.engine import record
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.engine.runtime import worker_name
from flask_squidmesh.engine.scene import GRACES, Fenced, Scene, require
from flask_squidmesh.engine.spread import spread
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.states import StepRunEvent, StepRunStatus
from flask_squidmesh.store import branches, fan
from flask_squidmesh.store.branches import Branch


def apply(scene: Scene, effects: Iterable[do.Effect]) -> None:
    """Carry *effects* out, in their order.

    Raises:
        Fenced: The branch is no longer as the scene has it.
    """
    for effect in effects:
        _carry_out(effect, scene)
    if scene.forks:
        _begin(scene)


def _begin(scene: Scene) -> None:
    """Insert the branches that begin, and ring for those that are to be rung at once."""
    begun = spread(scene.forks, scene.definition)
    fan.insert_fan(scene.connection, begun)
    scene.rings += [Ring(b.run_id, b.step) for b in begun if b.rung_at is not None]


# A wide fan-out has thousands of them, and an enumeration looks a value up slowly.
_STATUS: Final = {status.value: status for status in StepRunStatus}


@singledispatch
def _carry_out(effect: do.Effect, scene: Scene) -> None:
    record.carry_out(effect, scene)


@_carry_out.register
def _(_: do.Claim, scene: Scene) -> None:
    branch = scene.at
    # The one attempt of a wait has been running since the wait began.
    is_new = branch.status != StepRunStatus.WAITING
    claimed = branches.move(
        scene.connection,
        branch,
        StepRunEvent.CLAIM,
        attempt=branch.attempt + 1 if is_new else branch.attempt,
        started_at=scene.now if is_new else branch.started_at,
        fencing_token=branch.fencing_token + 1,
        due_at=scene.new_lease(),
        touched_at=scene.now,
        resends=0,
        worker=worker_name(),
    )
    begun = _go_on_with(scene, claimed)
    if is_new:
        scene.tell("step_started", begun)


@_carry_out.register
def _(effect: do.Delay, scene: Scene) -> None:
    ready_at = scene.after(effect.seconds)
    _hold(scene, StepRunEvent.DELAY, ready_at=ready_at, due_at=ready_at)
    scene.rings.append(Ring(scene.run.id, scene.at.step, ready_at))


@_carry_out.register
def _(_: do.Suspend, scene: Scene) -> None:
    _hold(scene, StepRunEvent.PAUSE, ready_at=scene.now, due_at=None)


@_carry_out.register
def _(_: do.Again, scene: Scene) -> None:
    branch = scene.at
    scene.tell("step_retry_scheduled", branch, delay=0.0)
    restarted = branches.restart(
        scene.connection,
        branch,
        attempt=branch.attempt + 1,
        fencing_token=branch.fencing_token + 1,
        ready_at=scene.now,
        started_at=scene.now,
        touched_at=scene.now,
        due_at=scene.new_lease(),
    )
    scene.tell("step_started", _go_on_with(scene, restarted))


@_carry_out.register
def _(effect: do.Retry, scene: Scene) -> None:
    branch = scene.at
    ready_at = scene.after(effect.seconds)
    is_now = effect.seconds <= 0
    retrying = branches.move(
        scene.connection,
        branch,
        StepRunEvent.RETRY,
        lost=branch.lost + 1 if effect.lost else branch.lost,
        ready_at=ready_at,
        due_at=ready_at + GRACES[0] if is_now else ready_at,
        rung_at=scene.now if is_now else None,
        resends=0,
        touched_at=scene.now,
        worker=None,
    )
    require(retrying is not None)
    scene.rings.append(Ring(branch.run_id, branch.step, None if is_now else ready_at))
    scene.tell("step_retry_scheduled", branch, delay=effect.seconds)


@_carry_out.register
def _(_: do.Leave, scene: Scene) -> None:
    require(branches.remove(scene.connection, scene.at))


@_carry_out.register
def _(effect: do.Move, scene: Scene) -> None:
    branch = scene.at
    entering = _entering(scene, effect, slot=branch.slot)
    new = replace(entering, fencing_token=branch.fencing_token + 1)
    require(branches.repoint(scene.connection, branch, new))
    if new.rung_at is not None:
        scene.rings.append(Ring(scene.run.id, effect.step))
    scene.moved_to = effect.step
    if effect.status == "running":
        scene.entered = new


@_carry_out.register
def _(effect: do.Fork, scene: Scene) -> None:
    scene.forks.append(_entering(scene, effect, slot=effect.slot))


def _go_on_with(scene: Scene, branch: Branch | None) -> Branch:
    if branch is None:
        raise Fenced
    scene.entered = branch
    return branch


def _hold(
    scene: Scene, event: StepRunEvent, *, ready_at: datetime, due_at: datetime | None
) -> None:
    """Begin the one attempt of a step that nobody executes yet, or ever."""
    held = branches.move(
        scene.connection,
        scene.at,
        event,
        attempt=scene.at.attempt + 1,
        started_at=scene.now,
        fencing_token=scene.at.fencing_token + 1,
        ready_at=ready_at,
        due_at=due_at,
        touched_at=scene.now,
        worker=worker_name(),
    )
    if held is None:
        raise Fenced
    scene.tell("step_started", held)


def _entering(scene: Scene, effect: do.Move | do.Fork, *, slot: int) -> Branch:
    """Return the branch that begins a step run now; a timer that begins with it is remembered."""
    ready_at = scene.after(effect.seconds)
    has_begun = effect.status != "pending"
    branch = Branch(
        run_id=scene.run.id,
        slot=slot,
        step=effect.step,
        visit=effect.visit,
        status=_STATUS[effect.status],
        attempt=1 if has_begun else 0,
        lost=0,
        fencing_token=1,
        horizon=scene.ordinal,
        resends=0,
        created_at=scene.now,
        ready_at=ready_at,
        due_at=_due_at(scene, effect.status, ready_at),
        rung_at=scene.now if effect.status == "pending" else None,
        started_at=scene.now if has_begun else None,
        touched_at=scene.now,
        worker=worker_name() if has_begun else None,
    )
    if effect.status == "waiting":
        scene.rings.append(Ring(scene.run.id, effect.step, ready_at))
    if has_begun:
        scene.tell("step_started", branch)
    return branch


def _due_at(scene: Scene, status: do.EntryStatus, ready_at: datetime) -> datetime | None:
    """Return when the ticker looks after a step run that is entered now."""
    match status:
        case "pending":
            return scene.now + GRACES[0]
        case "waiting":
            return ready_at
        case "running":
            return _kept_lease(scene)
        case "paused":
            return None


def _kept_lease(scene: Scene) -> datetime:
    """Return the end of the lease for the next step: the present one while it is long.

    An unchanged `due_at` keeps the update off the table's index.
    """
    enough = scene.now + timedelta(seconds=scene.runtime.settings.lease_ttl * 2 / 3)
    if scene.lease_until is not None and scene.lease_until > enough:
        return scene.lease_until
    return scene.new_lease()

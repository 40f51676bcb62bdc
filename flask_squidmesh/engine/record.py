"""Records what has happened: attempts, step runs, the run's status, audit events."""

from __future__ import annotations

from functools import singledispatch

from flask_squidmesh.definition import documents
from flask_squidmesh.engine.scene import Said, Scene, require
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.facts import Error, with_step
from flask_squidmesh.lifecycle.states import (
    ATTEMPT,
    RUN,
    STEP_RUN,
    AttemptEvent,
    AttemptStatus,
    RunEvent,
    StepRunEvent,
    StepRunStatus,
)
from flask_squidmesh.store import audit, branches, history, joins, runs
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.history import AttemptRow, StepRunRow


@singledispatch
def carry_out(effect: do.Effect, scene: Scene) -> None:  # noqa: ARG001  # the others need it
    """Record *effect* in the scene's transaction."""
    raise TypeError(f"{effect!r} is not an effect")


@carry_out.register
def _(effect: do.EndAttempt, scene: Scene) -> None:
    branch = scene.at
    row = _attempt_row(scene, branch, scene.ordinal, effect.event, effect.error)
    history.insert_attempts(scene.connection, [row])
    duration = (scene.now - row.started_at).total_seconds()
    if effect.event == AttemptEvent.SUCCEED:
        scene.tell("step_completed", branch, duration=duration)
        return
    if effect.error is not None:
        scene.failure = with_step(effect.error, branch.step)
    scene.tell("step_failed", branch, duration=duration, error=effect.error)


@carry_out.register
def _(effect: do.EndStep, scene: Scene) -> None:
    row = _step_run_row(
        scene,
        scene.at,
        effect.event,
        scene.ordinal,
        outcome=effect.outcome,
        output=scene.output,
    )
    history.insert_step_runs(scene.connection, [row])
    scene.ended.append(row)


@carry_out.register
def _(effect: do.CountDown, scene: Scene) -> None:
    require(joins.count_down(scene.connection, scene.run.id, effect.step))


@carry_out.register
def _(_: do.CancelIdle, scene: Scene) -> None:
    ordinal = history.last_ordinal(scene.connection, scene.run.id)
    attempts: list[AttemptRow] = []
    step_runs: list[StepRunRow] = []
    for branch in branches.of_run(scene.connection, scene.run.id):
        if branch.status == StepRunStatus.RUNNING:
            continue
        require(branches.remove(scene.connection, branch))
        if branch.status in (StepRunStatus.WAITING, StepRunStatus.PAUSED):
            ordinal += 1
            attempts.append(_attempt_row(scene, branch, ordinal, AttemptEvent.CANCEL, None))
        step_runs.append(_step_run_row(scene, branch, StepRunEvent.CANCEL, ordinal))
    if attempts:
        history.insert_attempts(scene.connection, attempts)
    if step_runs:
        history.insert_step_runs(scene.connection, step_runs)


@carry_out.register
def _(effect: do.MoveRun, scene: Scene) -> None:
    before, after = scene.status, RUN[(scene.status, effect.event)]
    error = effect.error
    if effect.event == RunEvent.RETRY and error is None:
        error = _latest_error(scene)
    moved = runs.move(
        scene.connection,
        scene.run.id,
        effect.event,
        now=scene.now,
        error=None if error is None else documents.encode(error, what="error"),
    )
    require(moved)
    scene.status = after
    if effect.event == RunEvent.FAIL and error is not None:
        scene.failed_step = error.get("step")
    scene.tell_of_run("run_transition", from_status=before.value, to_status=after.value)


@carry_out.register
def _(effect: do.Audit, scene: Scene) -> None:
    # What a person says goes with what that person did, not with the pause that follows.
    said = Said() if effect.type == "paused" else scene.said
    audit.append(
        scene.connection,
        scene.run.id,
        type=effect.type,
        step=effect.step,
        actor=said.actor,
        comment=said.comment,
        metadata=said.metadata,
        now=scene.now,
        idempotency_key=None if said.asked is None else said.asked.key,
        request_digest=None if said.asked is None else said.asked.digest,
    )


def _latest_error(scene: Scene) -> Error | None:
    found = history.find_latest_error(scene.connection, scene.run.id)
    return None if found is None else with_step(documents.decode(found[0]), found[1])


def _attempt_row(
    scene: Scene, branch: Branch, ordinal: int, event: AttemptEvent, error: Error | None
) -> AttemptRow:
    text = scene.traceback
    return AttemptRow(
        run_id=branch.run_id,
        ordinal=ordinal,
        step=branch.step,
        visit=branch.visit,
        number=branch.attempt,
        status=ATTEMPT[(AttemptStatus.RUNNING, event)].value,
        fencing_token=branch.fencing_token,
        worker=branch.worker,
        error=None if error is None else documents.encode(error, what="error"),
        traceback=None if text is None else documents.encode(text, what="traceback"),
        started_at=branch.started_at or scene.now,
        finished_at=scene.now,
    )


def _step_run_row(
    scene: Scene,
    branch: Branch,
    event: StepRunEvent,
    ordinal: int,
    *,
    outcome: str | None = None,
    output: str | None = None,
) -> StepRunRow:
    return StepRunRow(
        run_id=branch.run_id,
        step=branch.step,
        visit=branch.visit,
        slot=branch.slot,
        ordinal=ordinal,
        horizon=branch.horizon,
        status=STEP_RUN[(branch.status, event)].value,
        outcome=outcome,
        output=output,
        created_at=branch.created_at,
        finished_at=scene.now,
    )

"""What people decide: answers to pauses and approvals, and cancellation.

A decision needs the stored definition only, never the code. It is guarded by
the status it finds under the run's lock: of two people deciding at once one
wins, and the other is told the status that the winner left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.spec import StepKind
from flask_squidmesh.engine import idempotency
from flask_squidmesh.engine.apply import apply
from flask_squidmesh.engine.inspect import load_run
from flask_squidmesh.engine.news import News
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.scene import Said, Scene
from flask_squidmesh.exceptions import (
    DocumentTooLarge,
    IdempotencyConflict,
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    RunNotFound,
    WrongStepKind,
)
from flask_squidmesh.ids import parse_id
from flask_squidmesh.lifecycle import decide as lifecycle
from flask_squidmesh.lifecycle.facts import Facts, Resolved
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import audit, branches, history, runs, transaction
from flask_squidmesh.types import Run

Verb = Literal["unblock", "approve", "reject"]
_KIND: Mapping[str, StepKind] = {"unblock": "pause", "approve": "approval", "reject": "approval"}
_ANSWER: Mapping[str, Literal["resumed", "approved", "rejected"]] = {
    "unblock": "resumed",
    "approve": "approved",
    "reject": "rejected",
}


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a person wants: the verb, what is said with it as plain JSON data, the request."""

    verb: str
    said: Mapping[str, Any]
    asked: idempotency.Asked | None


def _wish(verb: str, said: Mapping[str, Any], key: str | None) -> _Wish:
    return _Wish(verb, said, idempotency.asked(key, [verb, said]))


def require_id(run_id: object) -> str:
    """Return *run_id* in canonical form.

    Raises:
        InvalidRunId: It does not have the form of an id.
    """
    known = parse_id(run_id)
    if known is None:
        raise InvalidRunId(run_id)
    return known


def check_statement(
    runtime: Runtime, *, actor: object, comment: object, metadata: object, needs_actor: bool
) -> dict[str, Any]:
    """Return what a person said as plain JSON data: actor, and comment and metadata if given.

    Raises:
        InvalidDecision: Names every field that is not acceptable.
        DocumentTooLarge: A field is larger than the limit.
    """
    errors: dict[str, str] = {}
    if (actor is not None or needs_actor) and not is_actor(actor):
        errors["actor"] = "must be a non-empty string or a non-empty mapping: who decides?"
    if comment is not None and not (isinstance(comment, str) and comment.strip()):
        errors["comment"] = "must be a non-empty string, or left out"
    if metadata is not None and not isinstance(metadata, Mapping):
        errors["metadata"] = "must be a mapping, or left out"
    said: dict[str, Any] = {}
    for name, value in (("actor", actor), ("comment", comment), ("metadata", metadata)):
        if value is None or name in errors:
            continue
        try:
            limit = runtime.settings.max_document_bytes
            said[name] = documents.decode(documents.encode(value, what=name, limit=limit))
        except documents.DocumentError as error:
            errors[name] = f"must be JSON: {error.message()}"
        except DocumentTooLarge as error:
            errors[name] = error.message()
    if errors:
        raise InvalidDecision(errors)
    return said


def is_actor(actor: object) -> bool:
    """Return whether *actor* names somebody: non-empty text, or a non-empty mapping."""
    if isinstance(actor, str):
        return bool(actor.strip())
    return isinstance(actor, Mapping) and bool(actor)


def resolve(
    runtime: Runtime,
    run_id: str,
    verb: Verb,
    *,
    actor: object = None,
    comment: object = None,
    metadata: object = None,
    idempotency_key: str | None = None,
    at: tuple[str, int] | None = None,
) -> tuple[Run, News]:
    """Answer the pause or approval at which the run stands, and return the run.

    With *at* (step and visit) only that one is answered: who was shown one
    question does not answer the next, because somebody else was faster.

    Raises:
        InvalidRunId, RunNotFound, InvalidDecision: As named.
        InvalidTransition: The run is not paused, or not at *at*.
        WrongStepKind: It is paused at a step of the other kind.
        IdempotencyConflict: The key came with something else before.
    """
    known_id = require_id(run_id)
    said = check_statement(
        runtime,
        actor=actor,
        comment=comment,
        metadata=metadata,
        needs_actor=_KIND[verb] == "approval",
    )
    wish = _wish(verb, said, idempotency_key)
    return transaction.run(runtime.database, lambda c: _resolve(runtime, c, known_id, wish, at))


def _resolve(
    runtime: Runtime,
    connection: transaction.Connection,
    run_id: str,
    wish: _Wish,
    at: tuple[str, int] | None,
) -> tuple[Run, News]:
    scene = _open(runtime, connection, run_id, wish)
    if _is_repetition(scene):
        return load_run(runtime, connection, run_id), News()
    if scene.status != RunStatus.PAUSED:
        raise InvalidTransition(scene.status.value, wish.verb)
    branch = next(
        b for b in branches.of_run(connection, run_id) if b.status == StepRunStatus.PAUSED
    )
    if at is not None and at != (branch.step, branch.visit):
        raise InvalidTransition(scene.status.value, wish.verb)
    kind = scene.definition.steps_by_name[branch.step].kind
    if kind != _KIND[wish.verb]:
        raise WrongStepKind(branch.step, kind)
    answer = _ANSWER[wish.verb]
    if kind == "approval":
        decision = {"decision": answer, **wish.said, "decided_at": scene.now.isoformat()}
        scene.output = documents.encode(decision, what="decision")
    scene.branch = branch
    scene.ordinal = history.last_ordinal(connection, run_id) + 1
    facts = Facts(
        definition=scene.definition,
        limits=runtime.limits,
        run=scene.status,
        step=branch.step,
        visit=branch.visit,
        status=branch.status,
        attempt=branch.attempt,
        visits=history.visits_of(connection, run_id),
    )
    apply(scene, lifecycle.decide(facts, Resolved(answer)))
    return load_run(runtime, connection, run_id), scene.news()


def cancel(
    runtime: Runtime,
    run_id: str,
    *,
    actor: object = None,
    comment: object = None,
    idempotency_key: str | None = None,
) -> tuple[Run, News]:
    """End the run: at once, or when the step function that is executing ends.

    Raises:
        InvalidRunId, RunNotFound, InvalidDecision: As named.
        InvalidTransition: The run is over, or being cancelled already.
        IdempotencyConflict: The key came with something else before.
    """
    known_id = require_id(run_id)
    said = check_statement(runtime, actor=actor, comment=comment, metadata=None, needs_actor=False)
    wish = _wish("cancel", said, idempotency_key)
    return transaction.run(runtime.database, lambda c: _cancel(runtime, c, known_id, wish))


def _cancel(
    runtime: Runtime,
    connection: transaction.Connection,
    run_id: str,
    wish: _Wish,
) -> tuple[Run, News]:
    scene = _open(runtime, connection, run_id, wish)
    if _is_repetition(scene):
        return load_run(runtime, connection, run_id), News()
    active = branches.of_run(connection, run_id)
    executing = any(branch.status == StepRunStatus.RUNNING for branch in active)
    is_single = scene.definition.mode == "transition" and len(active) == 1
    scene.branch = active[0] if is_single else None
    step = active[0].step if is_single else None
    try:
        apply(scene, lifecycle.cancel(scene.status, executing=executing, step=step))
    except lifecycle.Refused:
        raise InvalidTransition(scene.status.value, "cancel") from None
    return load_run(runtime, connection, run_id), scene.news()


def _open(
    runtime: Runtime,
    connection: transaction.Connection,
    run_id: str,
    wish: _Wish,
) -> Scene:
    locked = runs.lock(connection, run_id)
    run = runs.find(connection, run_id) if locked is not None else None
    if locked is None or run is None:
        raise RunNotFound(run_id)
    return Scene(
        runtime=runtime,
        connection=connection,
        run=run,
        definition=runtime.definition(connection, run),
        status=locked.status,
        now=runtime.clock.judge(locked.database_time),
        said=Said(
            **{name: documents.encode(value, what=name) for name, value in wish.said.items()},
            asked=wish.asked,
        ),
    )


def _is_repetition(scene: Scene) -> bool:
    """Return whether this very request was granted before; its answer is the run as it stands.

    Raises:
        IdempotencyConflict: Its key was used for something else.
    """
    asked = scene.said.asked
    known = None if asked is None else audit.find_by_key(scene.connection, scene.run.id, asked.key)
    if asked is None or known is None:
        return False
    if known.request_digest != asked.digest:
        raise IdempotencyConflict(scene.run.workflow, asked.key, scene.run.id)
    return True

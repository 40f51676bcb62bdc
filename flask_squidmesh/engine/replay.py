"""Replays runs: today's definition is started with what another run was asked for."""

from __future__ import annotations

from flask_squidmesh.engine import idempotency
from flask_squidmesh.engine.inspect import load_run
from flask_squidmesh.engine.news import News
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.start import Replay, Request, start
from flask_squidmesh.exceptions import DefinitionUnavailable, IdempotencyConflict, RunNotFound
from flask_squidmesh.ids import new_id
from flask_squidmesh.store import runs, transaction
from flask_squidmesh.store.runs import RunRow
from flask_squidmesh.types import Run


def replay(
    runtime: Runtime,
    run_id: str,
    *,
    actor: str | None,
    comment: str | None = None,
    idempotency_key: str | None = None,
) -> tuple[Run, News]:
    """Start a run of today's definition from the stored payload, trigger and schedule of another.

    Raises:
        RunNotFound: There is no such run.
        DefinitionUnavailable: Its workflow is not registered.
        IdempotencyConflict: Somebody else has replayed the run with this key.
    """
    source = transaction.read(runtime.database, lambda c: runs.find(c, run_id))
    if source is None:
        raise RunNotFound(run_id)
    said = [actor] if comment is None else [actor, comment]
    asked = idempotency.asked(idempotency_key, ["replay", run_id, *said])
    try:
        return _replay(runtime, source, Replay(source.id, actor, comment), asked)
    except IdempotencyConflict as error:
        # In the caller's words: the key as it was given, not as it is kept.
        raise IdempotencyConflict(error.workflow, idempotency_key or "", error.run_id) from None


def _replay(
    runtime: Runtime, source: RunRow, wish: Replay, asked: idempotency.Asked | None
) -> tuple[Run, News]:
    # Keys of replays are apart from those of starts, and from those for other runs.
    key = None if asked is None else f"replay:{source.id}:{idempotency.digest(asked.key)}"
    if asked is not None and key is not None:
        # First of all: the answer to a repetition does not depend on the code being there.
        known = transaction.read(
            runtime.database, lambda c: _find_replay(runtime, c, source, key, asked)
        )
        if known is not None:
            return known, News()
    code = runtime.code(source.workflow)
    if code is None:
        raise DefinitionUnavailable(source.workflow)
    request = Request(
        run_id=new_id(),
        definition=code.definition,
        trigger=source.trigger,
        payload=source.payload,
        schedule=source.schedule,
        replay=wish,
        idempotency_key=key,
        request_digest=None if asked is None else asked.digest,
    )
    return start(runtime, request)


def _find_replay(
    runtime: Runtime,
    connection: transaction.Connection,
    source: RunRow,
    key: str,
    asked: idempotency.Asked,
) -> Run | None:
    found = runs.find_by_key(connection, source.workflow, key)
    if found is None:
        return None
    if found.request_digest != asked.digest:
        raise IdempotencyConflict(source.workflow, asked.key, found.id)
    return load_run(runtime, connection, found.id)

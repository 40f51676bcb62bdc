"""Starts runs: everything that must happen becomes rows, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.definition.payload import load_payload
from flask_squidmesh.definition.spec import COMPLETE, Definition
from flask_squidmesh.engine import idempotency
from flask_squidmesh.engine.inspect import load_run
from flask_squidmesh.engine.news import News, Notice, Ring, about
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.scene import GRACES
from flask_squidmesh.engine.spread import spread
from flask_squidmesh.exceptions import (
    IdempotencyConflict,
    PayloadError,
    UnknownTrigger,
)
from flask_squidmesh.ids import new_id
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import (
    audit,
    definitions,
    dialect,
    fan,
    joins,
    prepared,
    runs,
    starting,
    transaction,
)
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.runs import RunRow
from flask_squidmesh.types import Run


@dataclass(frozen=True, slots=True)
class Replay:
    """Which run is replayed, the encoded actor who asks for it, and the encoded comment."""

    source_run_id: str
    actor: str | None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A run to be started: checked, encoded, with its id."""

    run_id: str
    definition: Definition
    trigger: str
    payload: str
    idempotency_key: str | None = None
    request_digest: str | None = None
    schedule: str | None = None
    cron_window: datetime | None = None
    replay: Replay | None = None


def prepare(
    runtime: Runtime,
    code: WorkflowCode,
    payload: Mapping[str, Any] | None,
    *,
    trigger: str | None,
    idempotency_key: str | None,
) -> Request:
    """Check what was asked and return it as a request; nothing is stored yet.

    Raises:
        UnknownTrigger: The workflow has no such trigger.
        PayloadError: The payload breaks the trigger's contract.
        DocumentTooLarge: The payload is larger than the limit.
        ValueError: The idempotency key is empty or too long.
    """
    definition = code.definition
    chosen = definition.triggers[0].name if trigger is None else trigger
    if definition.trigger(chosen) is None:
        known = tuple(spec.name for spec in definition.triggers)
        raise UnknownTrigger(definition.name, chosen, known)
    loaded = load_payload(code, chosen, payload)
    limit = runtime.settings.max_document_bytes
    document = documents.encode(loaded, what="payload", limit=limit)
    if idempotency_key is not None:
        idempotency.check_key(idempotency_key)
    return Request(
        run_id=new_id(),
        definition=definition,
        trigger=chosen,
        payload=document,
        idempotency_key=idempotency_key,
        request_digest=None if idempotency_key is None else _digest(chosen, payload),
    )


def _digest(trigger: str, payload: Mapping[str, Any] | None) -> str:
    """Return the SHA-256 of the request as it was given, whatever order its keys came in."""
    try:
        given = documents.encode(payload or {}, what="payload")
    except documents.DocumentError as error:
        raise PayloadError({"_schema": [error.message()]}) from None
    return idempotency.digest([trigger, documents.decode(given)])


def start(runtime: Runtime, request: Request) -> tuple[Run, News]:
    """Store the run in a transaction of its own, and return it."""
    at_once = _insert_at_once(runtime, prepared.Alone(runtime.database), request)
    if at_once is not None:
        return at_once

    def work(connection: transaction.Connection) -> tuple[Run, News]:
        return _insert(runtime, connection, request)

    result = transaction.run(runtime.database, work)
    runtime.remember_stored(request.definition.fingerprint)
    return result


def insert(
    runtime: Runtime, connection: transaction.Connection, request: Request
) -> tuple[Run, News]:
    """Store the run through *connection*, and return it; the caller commits.

    Raises:
        IdempotencyConflict: The key belongs to a run that was asked for otherwise.
    """
    at_once = _insert_at_once(runtime, connection, request)
    return _insert(runtime, connection, request) if at_once is None else at_once


def _insert_at_once(
    runtime: Runtime, through: transaction.Connection | prepared.Alone, request: Request
) -> tuple[Run, News] | None:
    """Store the run in one statement; None means that nothing was stored."""
    definition = request.definition
    if (
        definition.mode != "transition"
        or request.replay is not None
        or not runtime.is_stored(definition.fingerprint)
        or not prepared.is_possible(through)
    ):
        return None
    new = starting.NewRun(
        id=request.run_id,
        workflow=definition.name,
        fingerprint=definition.fingerprint,
        trigger=request.trigger,
        payload=request.payload,
        schedule=request.schedule,
        cron_window=request.cron_window,
        idempotency_key=request.idempotency_key,
        request_digest=request.request_digest,
        step=definition.entry_steps[0],
    )
    now = starting.start(through, new, grace=GRACES[0], at=runtime.clock.frozen_at)
    if now is None:
        return None
    row = _row(request, now)
    is_found = definition.fingerprint in runtime.beginnings.with_step(new.step)
    return _new_run(definition, row), _news(
        definition, row, definition.entry_steps, begins=is_found
    )


def _insert(
    runtime: Runtime, connection: transaction.Connection, request: Request
) -> tuple[Run, News]:
    """Store the run statement by statement, or find the one that is there already."""
    now = runtime.clock.judge(dialect.time(connection))
    definition = request.definition
    if not runtime.is_stored(definition.fingerprint):
        definitions.put(
            connection,
            fingerprint=definition.fingerprint,
            workflow=definition.name,
            version=definition.version,
            document=documents.encode(definition.to_dict(), what="definition"),
            now=now,
        )
    row = _row(request, now)
    if not runs.insert(connection, row):
        return _existing(runtime, connection, request), News()
    entries = _entry_branches(definition, row, now)
    fan.insert_fan(connection, entries)
    counters = _join_counters(definition)
    if counters:
        joins.insert(connection, row.id, counters)
    if request.replay is not None:
        audit.append(
            connection,
            row.id,
            type="replayed",
            step=None,
            actor=request.replay.actor,
            comment=request.replay.comment,
            metadata=documents.encode(
                {"source_run_id": request.replay.source_run_id}, what="metadata"
            ),
            now=now,
        )
    rung = [entry.step for entry in entries if entry.rung_at is not None]
    return _new_run(definition, row), _news(definition, row, rung)


def _row(request: Request, now: datetime) -> RunRow:
    return RunRow(
        id=request.run_id,
        workflow=request.definition.name,
        fingerprint=request.definition.fingerprint,
        trigger=request.trigger,
        payload=request.payload,
        schedule=request.schedule,
        cron_window=request.cron_window,
        idempotency_key=request.idempotency_key,
        request_digest=request.request_digest,
        replayed_from_run_id=None if request.replay is None else request.replay.source_run_id,
        created_at=now,
    )


def _existing(runtime: Runtime, connection: transaction.Connection, request: Request) -> Run:
    """Return the run that holds the request's key, or the request's own run stored before."""
    key, workflow = request.idempotency_key, request.definition.name
    found = None
    if key is not None:
        found = runs.find_by_key(connection, workflow, key)
    elif request.cron_window is not None:
        found = runs.find_by_window(connection, workflow, request.trigger, request.cron_window)
    if found is None:
        # The answer to our own commit was lost, and this is the repetition.
        return load_run(runtime, connection, request.run_id)
    if found.request_digest != request.request_digest:
        raise IdempotencyConflict(request.definition.name, key or "", found.id)
    return load_run(runtime, connection, found.id)


def _entry_branches(definition: Definition, row: RunRow, now: datetime) -> list[Branch]:
    first = Branch(
        run_id=row.id,
        slot=0,
        step="",
        visit=1,
        status=StepRunStatus.PENDING,
        attempt=0,
        lost=0,
        fencing_token=0,
        horizon=0,
        resends=0,
        created_at=now,
        ready_at=now,
        due_at=now + GRACES[0],
        rung_at=now,
        started_at=None,
        touched_at=now,
        worker=None,
    )
    if definition.mode == "transition":
        return [replace(first, step=definition.entry_steps[0])]
    entries = [
        replace(first, step=name, slot=definition.slot(name)) for name in definition.entry_steps
    ]
    return spread(entries, definition)


def _join_counters(definition: Definition) -> dict[str, int]:
    """Return the counters of a dependency workflow; what waits for one step needs none."""
    if definition.mode == "transition":
        return {}
    counters = {s.name: len(s.depends_on) for s in definition.steps if len(s.depends_on) > 1}
    if len(definition.sinks) > 1:
        counters[COMPLETE] = len(definition.sinks)
    return counters


def _new_run(definition: Definition, row: RunRow) -> Run:
    return Run(
        id=row.id,
        workflow=row.workflow,
        definition_version=definition.version,
        trigger=row.trigger,
        status=RunStatus.PENDING.value,
        payload=documents.decode(row.payload),
        context={},
        current_step=definition.entry_steps[0] if definition.mode == "transition" else None,
        last_error=None,
        replayed_from_run_id=row.replayed_from_run_id,
        created_at=row.created_at,
        updated_at=row.created_at,
        finished_at=None,
    )


def _news(
    definition: Definition, row: RunRow, rung: Sequence[str], *, begins: bool = False
) -> News:
    first = definition.entry_steps[0] if definition.mode == "transition" else None
    values = about(row, RunStatus.PENDING, current_step=first)
    notices = [Notice("run_created", values)]
    if row.replayed_from_run_id is not None:
        notices.append(Notice("run_replayed", values))
    rings = tuple(Ring(row.id, step, begins=begins) for step in rung)
    notices += [Notice("run_dispatched", values) for _ in rings]
    return News(rings, tuple(notices))

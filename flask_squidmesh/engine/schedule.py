"""Cron: the ticker starts a run for each window that has come, once.

The row of a trigger in `schedules` holds its next window. Whoever moves it on
starts the run, in the same transaction, and the unique key of (workflow,
trigger, window) on runs would refuse a second one besides. A trigger is first
known when a ticker sees it: windows before that moment were not missed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from flask_squidmesh.definition import cron, documents
from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.definition.payload import load_payload
from flask_squidmesh.definition.spec import TriggerSpec
from flask_squidmesh.engine.news import News, together
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.start import Request, insert
from flask_squidmesh.exceptions import DocumentTooLarge, PayloadError
from flask_squidmesh.ids import new_id
from flask_squidmesh.store import dialect, schedules, transaction
from flask_squidmesh.store.schedules import ScheduleRow

logger = logging.getLogger(__name__)

PUNCTUAL: Final = timedelta(seconds=60)
"""How late a window may be started with `catch_up="none"`."""

LOOK_AGAIN_AFTER: Final = timedelta(seconds=30)
"""How long what was read from `schedules` is relied upon: another process may change it."""


@dataclass(frozen=True, slots=True)
class _Trigger:
    """A declared cron trigger and its row."""

    code: WorkflowCode
    spec: TriggerSpec
    row: ScheduleRow

    @property
    def cron(self) -> cron.Cron:
        return cron.parse(self.row.expression, self.row.timezone)


def fire(runtime: Runtime, now: datetime, *, limit: int) -> tuple[int, News]:
    """Start the runs of the windows that have come; return how many, and what to tell.

    Costs nothing in applications without cron triggers, and no query while the
    next window known to this process has not come.
    """
    triggers = dict(_triggers(runtime))
    if not triggers or now < runtime.next_look_at_cron:
        return 0, News()

    def work(connection: transaction.Connection) -> list[ScheduleRow]:
        return _known(connection, triggers, now)

    rows = transaction.run(runtime.database, work)
    told: list[News] = []
    for row in rows:
        if row.next_at <= now:
            trigger = _Trigger(*triggers[row.workflow, row.trigger], row)
            told += _fire(runtime, trigger, now, limit - len(told))
    upcoming = [row.next_at for row in rows if row.next_at > now]
    is_behind = len(upcoming) < len(rows)
    runtime.next_look_at_cron = now if is_behind else min([*upcoming, now + LOOK_AGAIN_AFTER])
    return len(told), together(told)


def upcoming(runtime: Runtime) -> dict[tuple[str, str], datetime]:
    """Return the next window of every declared cron trigger, by workflow and trigger.

    For a trigger that no ticker has seen as it is declared now, that is the
    window it will have if one sees it at once. Writes nothing.
    """
    triggers = dict(_triggers(runtime))
    if not triggers:
        return {}

    def work(connection: transaction.Connection) -> dict[tuple[str, str], datetime]:
        now = runtime.clock.judge(dialect.time(connection))
        workflows = sorted({workflow for workflow, _ in triggers})
        stored = {(r.workflow, r.trigger): r for r in schedules.list_all(connection, workflows)}
        return {
            key: _next(stored.get(key), _declared(key[0], spec, now))
            for key, (_, spec) in triggers.items()
        }

    return transaction.read(runtime.database, work)


def _next(stored: ScheduleRow | None, declared: ScheduleRow) -> datetime:
    if stored is None:
        return declared.next_at
    is_same = (stored.expression, stored.timezone) == (declared.expression, declared.timezone)
    return stored.next_at if is_same else declared.next_at


def _triggers(
    runtime: Runtime,
) -> Iterator[tuple[tuple[str, str], tuple[WorkflowCode, TriggerSpec]]]:
    for code in runtime.all_code():
        for spec in code.definition.triggers:
            if spec.kind == "cron":
                yield (code.definition.name, spec.name), (code, spec)


def _known(
    connection: transaction.Connection,
    triggers: dict[tuple[str, str], tuple[WorkflowCode, TriggerSpec]],
    now: datetime,
) -> list[ScheduleRow]:
    """Return the rows of the declared triggers, those of new or changed ones put right first."""
    workflows = sorted({workflow for workflow, _ in triggers})
    stored = {(r.workflow, r.trigger): r for r in schedules.list_all(connection, workflows)}
    rows: list[ScheduleRow] = []
    for key, (_, spec) in triggers.items():
        declared = _declared(key[0], spec, now)
        row = stored.get(key)
        if row is None:
            if schedules.put(connection, declared):
                rows.append(declared)
        elif (row.expression, row.timezone, row.catch_up) == (
            declared.expression,
            declared.timezone,
            declared.catch_up,
        ):
            rows.append(row)
        else:
            changed = _changed(row, declared)
            if schedules.redeclare(connection, row, changed):
                rows.append(changed)
    return rows


def _declared(workflow: str, spec: TriggerSpec, now: datetime) -> ScheduleRow:
    expression, timezone = spec.expression or "", spec.timezone or "UTC"
    return ScheduleRow(
        workflow=workflow,
        trigger=spec.name,
        expression=expression,
        timezone=timezone,
        catch_up=spec.catch_up or "latest",
        next_at=cron.next_after(expression, timezone, now),
        last_window=None,
        created_at=now,
    )


def _changed(row: ScheduleRow, declared: ScheduleRow) -> ScheduleRow:
    """Return the row of a changed declaration; only another schedule begins anew from now."""
    is_same_schedule = (row.expression, row.timezone) == (declared.expression, declared.timezone)
    return replace(
        row,
        expression=declared.expression,
        timezone=declared.timezone,
        catch_up=declared.catch_up,
        next_at=row.next_at if is_same_schedule else declared.next_at,
    )


def _fire(runtime: Runtime, trigger: _Trigger, now: datetime, limit: int) -> list[News]:
    """Start the windows of one trigger that have come, and move it on."""
    row = trigger.row
    windows = _due_windows(trigger, now, limit)
    reached = windows[-1] if row.catch_up == "all" and windows else now
    requests = [_request(runtime, trigger, window, now) for window in windows]

    def work(connection: transaction.Connection) -> list[News]:
        moved = schedules.advance(
            connection,
            row,
            next_at=trigger.cron.next_after(reached),
            last_window=windows[-1] if windows else row.last_window,
        )
        if not moved:
            return []
        told = [insert(runtime, connection, request)[1] for request in requests if request]
        return [news for news in told if news]

    return transaction.run(runtime.database, work)


def _due_windows(trigger: _Trigger, now: datetime, limit: int) -> list[datetime]:
    """Return the windows to start: of those that have come, what `catch_up` says."""
    before = trigger.row.next_at - timedelta(microseconds=1)
    if trigger.row.catch_up == "all":
        return list(islice(trigger.cron.windows(before, now), max(limit, 1)))
    latest = trigger.cron.latest_between(before, now)
    is_late = latest is not None and now - latest > PUNCTUAL
    if latest is None or (trigger.row.catch_up == "none" and is_late):
        return []
    return [latest]


def _request(
    runtime: Runtime, trigger: _Trigger, window: datetime, now: datetime
) -> Request | None:
    """Return the run of *window*; None, with an error in the log, when its payload is refused."""
    spec, definition = trigger.spec, trigger.code.definition
    try:
        payload = documents.encode(
            load_payload(trigger.code, spec.name, None),
            what="payload",
            limit=runtime.settings.max_document_bytes,
        )
    except (PayloadError, DocumentTooLarge):
        logger.exception(
            "cron trigger %s of workflow %s started no run for %s",
            spec.name,
            definition.name,
            window.isoformat(),
        )
        return None
    described: dict[str, Any] = {
        "trigger": spec.name,
        "expression": spec.expression,
        "timezone": spec.timezone,
        "window_start": window,
        "window_end": trigger.cron.next_after(window),
        "fired_at": now,
    }
    return Request(
        run_id=new_id(),
        definition=definition,
        trigger=spec.name,
        payload=payload,
        schedule=documents.encode(described, what="schedule"),
        cron_window=window,
    )

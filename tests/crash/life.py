"""One process from its first line to its last, or to the point at which it is killed."""

from __future__ import annotations

import json
import os
import select
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh import Run
from flask_squidmesh.clock import Clock
from tests.crash.host import Entry, Order, World, db, empty, open_world
from tests.crash.invariants import violations
from tests.crash.points import Points, Report
from tests.crash.shapes import Shape

_LONGEST_LIFE: Final = 60.0
"""Seconds after which a process is taken to hang."""


@dataclass
class Life:
    """What a process has told before it ended, and how it ended.

    `orphans` are the attempts (run, step, visit, number) it found executing by
    processes that are dead; `killed_at` the point at which it was killed.
    """

    killed_at: str | None = None
    now: datetime | None = None
    orphans: set[tuple[str, str, int, int]] = field(default_factory=set)
    points: list[str] = field(default_factory=list)
    picture: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def live(
    url: str, shape: Shape, *, at: datetime, first: bool, kill_at: int | None = None, **config: Any
) -> Life:
    """Let a new process live through *shape*; the *first* one begins with an empty database."""

    def work(report: Report) -> None:
        if first:
            empty(url)
        points = Points(kill_at=kill_at, report=report)
        with open_world(url, shape.workflows, at, points, **config) as world:
            world.clock = _watched(world.clock, report)
            report("orphans", _orphans())
            for _ in shape.script(world):
                world.work()
            report("points", points.passed)
            report("picture", _picture(world))
            report("violations", _violations(shape))

    life = Life(now=at)
    for word, value in _in_child(work):
        _take_note(life, word, value)
    return life


def _take_note(life: Life, word: str, value: Any) -> None:
    if word == "now":
        life.now = datetime.fromisoformat(value)
    elif word == "orphans":
        life.orphans = {tuple(each) for each in value}
    elif word == "died":
        life.killed_at = value
    elif word == "violations":
        life.picture["violations"] = value
    else:
        setattr(life, word, value)


def _watched(clock: Any, report: Report) -> Any:
    """Return *clock*, telling whoever comes next what time it is."""
    advance = clock.advance

    def told(*, seconds: float) -> datetime:
        now: datetime = advance(seconds=seconds)
        report("now", now.isoformat())
        return now

    clock.advance = told
    return clock


def _orphans() -> list[tuple[str, str, int, int]]:
    query = "SELECT run_id, step, visit, attempt FROM squidmesh_branches WHERE status = 'running'"
    with db.engine.connect() as connection:
        return [_named(*row) for row in connection.execute(sa.text(query))]


def _named(run_id: Any, *rest: Any) -> tuple[Any, ...]:
    # SQLite returns ids without their hyphens here.
    return (str(run_id).replace("-", ""), *rest)


def _violations(shape: Shape) -> list[str]:
    with db.engine.connect() as connection:
        return violations(connection, shape.workflows, at_the_end=True)


def _picture(world: World) -> dict[str, Any]:
    runs = world.runs()
    place = {run.id: number for number, run in enumerate(runs)}
    with db.engine.connect() as connection:
        written = connection.execute(sa.select(Entry.run_id, Entry.step, Entry.key, Entry.attempt))
        entries = [
            [place[run_id], step, key.removeprefix(run_id), attempt]
            for run_id, step, key, attempt in written
        ]
        orders = [place.get(run_id) for run_id in connection.scalars(sa.select(Order.run_id))]
    return {
        "runs": [_described(run, place) for run in runs],
        "entries": entries,
        "orders": orders,
    }


def _described(run: Run, place: dict[str, int]) -> dict[str, Any]:
    error = run.last_error
    context = json.loads(json.dumps(run.context))
    context.get("decision", {}).pop("decided_at", None)
    return {
        "id": _named(run.id)[0],
        "workflow": run.workflow,
        "trigger": run.trigger,
        "status": run.status,
        "context": context,
        "current_step": run.current_step,
        "error": error and [error["code"], error["step"]],
        "replayed_from": place.get(run.replayed_from_run_id or ""),
        "audit": [[event.type, event.step, event.actor] for event in run.audit_events or ()],
        "step_runs": [
            {
                "step": each.step,
                "visit": each.visit,
                "status": each.status,
                "outcome": each.outcome,
                "attempts": [[attempt.number, attempt.status] for attempt in each.attempts],
            }
            for each in run.step_runs or ()
        ],
    }


def _in_child(work: Callable[[Report], None]) -> list[tuple[str, Any]]:
    """Do *work* in a forked process; return what it reported, last an error if it failed."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _be_child(work, sender)
    os.close(sender)
    told = _read_all(receiver, child)
    _, status = os.waitpid(child, 0)
    reports: list[tuple[str, Any]] = [tuple(json.loads(line)) for line in told.splitlines()]
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if was_killed != (bool(reports) and any(word == "died" for word, _ in reports)):
        reports.append(("error", f"ended with status {status} after {reports[-3:]}"))
    return reports


def _be_child(work: Callable[[Report], None], sender: int) -> None:
    def report(word: str, value: object) -> None:
        line = (json.dumps([word, value]) + "\n").encode()
        while line:
            line = line[os.write(sender, line) :]

    try:
        work(report)
    except BaseException:  # noqa: BLE001  # the parent is told, and judges
        report("error", traceback.format_exc())
    # Nothing of what the parent has put up for its own end may happen here.
    os._exit(0)


def _read_all(receiver: int, child: int) -> bytes:
    deadline = Clock().monotonic() + _LONGEST_LIFE
    told = b""
    with os.fdopen(receiver, "rb", buffering=0) as source:
        while select.select([source], [], [], max(0, deadline - Clock().monotonic()))[0]:
            part = source.read(65536)
            if not part:
                return told
            told += part
    os.kill(child, signal.SIGKILL)
    return told

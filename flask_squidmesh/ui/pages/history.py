"""A run's steps, their time and their attempts, as rows of tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from flask import url_for
from markupsafe import Markup

from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.types import Attempt, Run, StepRun, StepState
from flask_squidmesh.ui import consequences
from flask_squidmesh.ui.badge import Badge, badge
from flask_squidmesh.ui.data import pretty
from flask_squidmesh.ui.phrases import follows
from flask_squidmesh.ui.text import Part, Sentence, foreign, name, visible
from flask_squidmesh.ui.timeline import EXECUTING, QUEUED, WAITING, Bar, bars
from flask_squidmesh.ui.when import Moment, duration, moment

ROWS: Final = 40
"""How many rows of a table one page has."""

KINDS: Final = {
    "step": "step",
    "wait": "timer",
    "log": "log",
    "pause": "pause",
    "approval": "approval",
}


@dataclass(frozen=True, slots=True)
class StepRow:
    """A declared step of a run."""

    name: Part
    url: str
    kind: str
    badge: Badge
    visits: int
    attempts: int
    leads_to: Sentence


@dataclass(frozen=True, slots=True)
class TimeRow:
    """One activation of a step, and what its time was spent on."""

    name: Part
    url: str
    visit: int
    badge: Badge
    ready: Moment
    picture: Markup
    queued: str
    waiting: str
    executing: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try of a step, and the error it ended with."""

    step: Part
    visit: int
    number: int
    badge: Badge
    worker: str | None
    started: Moment
    took: str
    code: str | None
    message: str | None
    type: str | None
    details: str | None


@dataclass(frozen=True, slots=True)
class Slice:
    """Which rows of a long table a page has; addresses of the others."""

    first: int
    last: int
    total: int
    previous_url: str | None
    next_url: str | None

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows."""
        return self.first <= 1 and self.last == self.total


def slice_of(total: int, start: int, run_id: str) -> Slice:
    """Return the slice that begins at row *start*, from 0."""
    start = start if 0 <= start < total else 0
    end = min(start + ROWS, total)
    return Slice(
        first=min(start + 1, total),
        last=end,
        total=total,
        previous_url=_rows_url(run_id, max(start - ROWS, 0)) if start else None,
        next_url=_rows_url(run_id, end) if end < total else None,
    )


def _rows_url(run_id: str, start: int) -> str:
    return url_for(".run", run_id=run_id, rows=start or None, _anchor="steps")


def step_rows(run: Run, definition: Definition, chosen: Slice) -> tuple[StepRow, ...]:
    """Return the declared steps, where they stand and where they lead to."""
    states = (run.steps or ())[max(chosen.first - 1, 0) : chosen.last]
    return tuple(_step_row(run, definition, state) for state in states)


def _step_row(run: Run, definition: Definition, state: StepState) -> StepRow:
    return StepRow(
        name=name(state.step),
        url=url_for(".step", run_id=run.id, step=state.step),
        kind=KINDS.get(state.kind, state.kind),
        badge=badge(state.status),
        visits=state.visit,
        attempts=len(state.attempts),
        leads_to=follows(consequences.of_outcome(definition, state.step, "ok")),
    )


def time_rows(run: Run, now: datetime) -> tuple[TimeRow, ...]:
    """Return the latest activations, and what their time was spent on."""
    latest = replace(run, step_runs=(run.step_runs or ())[-ROWS:])
    return tuple(_time_row(run.id, bar, now) for bar in bars(latest, now=now))


def _time_row(run_id: str, bar: Bar, now: datetime) -> TimeRow:
    step_run = bar.step_run
    return TimeRow(
        name=name(step_run.step),
        url=url_for(".step", run_id=run_id, step=step_run.step, visit=step_run.visit),
        visit=step_run.visit,
        badge=badge(step_run.status),
        ready=moment(step_run.created_at, now),
        picture=bar.picture,
        queued=_spent(bar, QUEUED),
        waiting=_spent(bar, WAITING),
        executing=_spent(bar, EXECUTING),
    )


def _spent(bar: Bar, kind: str) -> str:
    if not any(segment.kind == kind for segment in bar.segments):
        return "-"
    seconds = bar.seconds(kind)
    if bar.step_run.finished_at is not None or bar.segments[-1].kind != kind:
        return duration(seconds)
    # In minutes, so that a page which is kept current does not change every second.
    return f"{duration(seconds // 60 * 60)} so far" if seconds >= 60 else "under 1 min so far"


def attempt_rows(step_runs: Iterable[StepRun], now: datetime) -> tuple[AttemptRow, ...]:
    """Return the latest attempts of *step_runs*, the latest first."""
    rows = [
        _attempt_row(step_run, attempt, now)
        for step_run in step_runs
        for attempt in step_run.attempts
    ]
    return tuple(reversed(rows[-ROWS:]))


def with_errors(run: Run) -> list[StepRun]:
    """Return the step runs that had a failed or abandoned attempt."""
    return [s for s in run.step_runs or () if any(a.error is not None for a in s.attempts)]


def _attempt_row(step_run: StepRun, attempt: Attempt, now: datetime) -> AttemptRow:
    error = attempt.error or {}
    ended = attempt.finished_at
    details = error.get("details")
    return AttemptRow(
        step=name(step_run.step),
        visit=step_run.visit,
        number=attempt.number,
        badge=badge(attempt.status),
        worker=None if attempt.worker is None else visible(attempt.worker),
        started=moment(attempt.started_at, now),
        took="still going"
        if ended is None
        else duration((ended - attempt.started_at).total_seconds()),
        code=None if attempt.error is None else visible(error.get("code"), limit=120),
        message=None if attempt.error is None else visible(error.get("message"), limit=2_000),
        type=None if error.get("type") is None else visible(error["type"], limit=300),
        details=None if details is None else foreign(_details(details), limit=2_000).text,
    )


def _details(details: object) -> str:
    return details if isinstance(details, str) else pretty(details)

"""When each step of a run waited in the queue, waited for time or people, and executed.

Pure: reads a run with its history, and says for each of its step runs how long
it did what. The bars are pictures beside these words, so they are hidden from
those who do not see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from flask_squidmesh.types import Attempt, Run, StepRun

QUEUED: Final = "queued"
WAITING: Final = "waiting"
EXECUTING: Final = "executing"

_UNITS: Final = 1000
"""Width of a bar, in its own units."""
_VISIBLE: Final = 3
"""The shortest segment that is drawn, in these units."""
_HELD: Final = ("wait", "pause", "approval")


@dataclass(frozen=True, slots=True)
class Segment:
    """A time in which a step run was `"queued"`, `"waiting"` or `"executing"`."""

    kind: str
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it took; a clock that was set back gives 0."""
        return max((self.end - self.start).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """One step run on the timeline of its run; `picture` is an `<svg>` as wide as it may be."""

    step_run: StepRun
    segments: tuple[Segment, ...]
    picture: Markup

    def seconds(self, kind: str) -> float:
        """Return how long the step run was in segments of this kind."""
        return sum(segment.seconds for segment in self.segments if segment.kind == kind)


def bars(run: Run, *, now: datetime) -> tuple[Bar, ...]:
    """Return a bar for each step run, all on one scale; what is unfinished lasts until *now*.

    *run* has been read with `include_history=True`.
    """
    spans = [(step_run, tuple(_segments(step_run, now))) for step_run in run.step_runs or ()]
    ends = [segment.end for _, segments in spans for segment in segments]
    begin = run.created_at
    length = max([(end - begin).total_seconds() for end in ends], default=0.0)
    return tuple(
        Bar(step_run, segments, _picture(segments, begin, length)) for step_run, segments in spans
    )


def _segments(step_run: StepRun, now: datetime) -> Iterator[Segment]:
    """Yield what the step run did from its beginning on, without gaps."""
    end = step_run.finished_at or now
    if step_run.kind in _HELD:
        yield Segment(WAITING, step_run.created_at, end)
        return
    attempts = step_run.attempts
    if not attempts:
        yield Segment(QUEUED, step_run.created_at, end)
        return
    yield Segment(QUEUED, step_run.created_at, attempts[0].started_at)
    for attempt, following in pairwise(attempts):
        yield from _tried(attempt, following.started_at)
    last = attempts[-1]
    yield Segment(EXECUTING, last.started_at, last.finished_at or end)
    if last.finished_at is not None and step_run.finished_at is None:
        yield Segment(WAITING, last.finished_at, now)


def _tried(attempt: Attempt, until: datetime) -> Iterator[Segment]:
    """Yield an attempt, and the wait for the one that followed it."""
    end = attempt.finished_at or until
    yield Segment(EXECUTING, attempt.started_at, end)
    yield Segment(WAITING, end, until)


def _picture(segments: Sequence[Segment], begin: datetime, length: float) -> Markup:
    scale = _UNITS / length if length > 0 else 0.0
    parts = []
    for segment in segments:
        start = max((segment.start - begin).total_seconds(), 0.0) * scale
        width = segment.seconds * scale
        if segment.kind != EXECUTING and width < 1:
            continue
        width = max(width, _VISIBLE)
        parts.append(
            Markup('<rect class="sm-{}" x="{:.1f}" y="0" width="{:.1f}" height="10"/>').format(
                segment.kind, min(start, _UNITS - width), width
            )
        )
    return Markup(
        '<svg class="sm-bar" viewBox="0 0 {} 10" preserveAspectRatio="none" aria-hidden="true">'
        "{}</svg>"
    ).format(_UNITS, Markup("").join(parts))

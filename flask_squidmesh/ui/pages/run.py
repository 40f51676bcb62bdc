"""A run: why it is where it is, what happens next, what can be done, and all that has happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from markupsafe import Markup

from flask_squidmesh.operations import study_run
from flask_squidmesh.types import Run
from flask_squidmesh.ui import words
from flask_squidmesh.ui.access import Visitor
from flask_squidmesh.ui.badge import Badge, badge
from flask_squidmesh.ui.data import Data, show
from flask_squidmesh.ui.drawing import draw
from flask_squidmesh.ui.offers import Offer, Question, find_offers, find_question
from flask_squidmesh.ui.pages import history
from flask_squidmesh.ui.pages.history import AttemptRow, Slice, StepRow, TimeRow
from flask_squidmesh.ui.people import ANSWERS, Event, event
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, name
from flask_squidmesh.ui.when import Moment, duration, find_moment, moment
from flask_squidmesh.ui.words import Reason


@dataclass(frozen=True, slots=True)
class Head:
    """What stands at the top of every page about a run."""

    id: str
    url: str
    workflow: Part
    workflow_url: str | None
    version: Part | None
    trigger: Part
    badge: Badge
    started: Moment
    finished: Moment | None
    took: str | None
    source_id: str | None
    source_url: str | None


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run on a page.

    `graph` is a drawing of what `steps` tell in words. `last_answer` is the
    latest thing that somebody decided.
    """

    head: Head
    reasons: tuple[Reason, ...]
    more_reasons: int
    last_answer: Event | None
    question: Question | None
    offers: tuple[Offer, ...]
    graph: Markup
    steps: tuple[StepRow, ...]
    chosen: Slice
    times: tuple[TimeRow, ...]
    time_count: int
    errors: tuple[AttemptRow, ...]
    data: tuple[Data, ...]
    events: tuple[Event, ...]


def build(call: Call, rows: str | None) -> RunPage:
    """Return the page of the call's run."""
    run = call.require_run()
    known = study_run(run.id)
    full = known.run
    reasons = words.reasons(known.explanation, full, known.definition, call.now)
    start = int(rows) if rows is not None and rows.isascii() and rows.isdigit() else 0
    chosen = history.slice_of(len(full.steps or ()), start, run.id)
    events = tuple(event(found, call.now) for found in full.audit_events or ())
    answers = [found for found in events if found.type in ANSWERS]
    return RunPage(
        head=head(full, call.visitor, call.now),
        reasons=reasons,
        more_reasons=max(words.count_reasons(known.explanation) - len(reasons), 0),
        last_answer=answers[-1] if answers else None,
        question=find_question(run, full, known.definition, call.visitor, call.now),
        offers=find_offers(run, full, known.explanation, known.definition, call.visitor),
        graph=draw(known.graph, title=f"Graph of a run of {full.workflow}"),
        steps=history.step_rows(full, known.definition, chosen),
        chosen=chosen,
        times=history.time_rows(full, call.now),
        time_count=len(full.step_runs or ()),
        errors=history.attempt_rows(history.with_errors(full), call.now),
        data=data(run, full, call.visitor),
        events=events,
    )


def head(run: Run, visitor: Visitor, now: datetime) -> Head:
    """Return what stands at the top of every page about *run*."""
    ended = run.finished_at
    source = run.replayed_from_run_id
    may_list = visitor.may("workflows:list")
    return Head(
        id=run.id,
        url=url_for(".run", run_id=run.id),
        workflow=name(run.workflow),
        workflow_url=url_for(".workflow", name=run.workflow) if may_list else None,
        version=None if run.definition_version is None else name(run.definition_version),
        trigger=name(run.trigger),
        badge=badge(run.status),
        started=moment(run.created_at, now),
        finished=find_moment(ended, now),
        took=None if ended is None else duration((ended - run.created_at).total_seconds()),
        source_id=source,
        source_url=None if source is None else url_for(".run", run_id=source),
    )


def data(run: Run, full: Run, visitor: Visitor) -> tuple[Data, ...]:
    """Return payload and context of a run, as far as the visitor may see them."""
    is_visible = visitor.may("runs:payload", run)
    return tuple(
        show(
            f"data-{of}",
            title,
            value,
            href=url_for(".data", run_id=run.id, of=of) if is_visible else None,
        )
        for of, title, value in (
            ("payload", "Payload", full.payload),
            ("context", "Context: what the steps returned", full.context),
        )
    )

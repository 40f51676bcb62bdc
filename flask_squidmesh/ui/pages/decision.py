"""The pages on which something is decided or done; opening one of them decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from flask_squidmesh.operations import Study, study_run
from flask_squidmesh.types import Run
from flask_squidmesh.ui import forgery
from flask_squidmesh.ui.data import Data
from flask_squidmesh.ui.forgery import Ticket
from flask_squidmesh.ui.offers import Offer, Question, find_offers, find_question
from flask_squidmesh.ui.pages.run import Head, data, head
from flask_squidmesh.ui.people import Event, event, find_answer
from flask_squidmesh.ui.problems import Refused
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, name, visible
from flask_squidmesh.ui.words import Reason, reasons


@dataclass(frozen=True, slots=True)
class Sent:
    """What the visitor has sent, and why it was not carried out."""

    label: str
    comment: str
    problem: str | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """A question, open or answered.

    `question` is None when it is answered: `answer` says by whom, unless nobody
    did, because the run has not come to it. `reasons` say where the run is now.
    """

    head: Head
    step: Part
    question: Question | None
    answer: Event | None
    reasons: tuple[Reason, ...]
    data: tuple[Data, ...]
    sent: Sent | None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Something that can be done with the run itself; `offer` is None when it can not any more."""

    head: Head
    offer: Offer | None
    ticket: Ticket | None
    latest: Event | None
    reasons: tuple[Reason, ...]
    sent: Sent | None


def decision(call: Call, step: str, visit: int, sent: Sent | None = None) -> DecisionPage:
    """Return the page of the question at a visit of *step*.

    Raises:
        Refused: The run has no such question.
    """
    run = call.require_run()
    known = study_run(run.id)
    spec = known.definition.steps_by_name.get(step)
    if spec is None or spec.kind not in ("pause", "approval") or visit < 1:
        raise Refused(404, "No such question", "This run has no pause or approval like this.")
    question = find_question(run, known.run, known.definition, call.visitor, call.now)
    if question is not None and (question.step, question.visit) != (step, visit):
        question = None
    answer = find_answer(known.run.audit_events or (), step, visit)
    return DecisionPage(
        head=head(known.run, call.visitor, call.now),
        step=name(step),
        question=question,
        answer=None if answer is None else event(answer, call.now),
        reasons=_reasons(call, known),
        data=data(run, known.run, call.visitor),
        sent=sent,
    )


def find_open(run_id: str) -> tuple[str, int] | None:
    """Return step and visit of the question at which the run stands."""
    found = study_run(run_id).run
    for step_run in found.step_runs or ():
        if step_run.status == "paused" and found.status == "paused":
            return step_run.step, step_run.visit
    return None


def change(call: Call, verb: str, sent: Sent | None = None) -> ChangePage:
    """Return the page on which the run is cancelled or replayed."""
    run = call.require_run()
    known = study_run(run.id)
    offers = find_offers(run, known.run, known.explanation, known.definition, call.visitor)
    offer = next((found for found in offers if found.verb == verb), None)
    return ChangePage(
        head=head(known.run, call.visitor, call.now),
        offer=offer,
        ticket=None if offer is None else forgery.issue(),
        latest=_latest(call, known.run),
        reasons=_reasons(call, known),
        sent=sent,
    )


def _latest(call: Call, run: Run) -> Event | None:
    events = [found for found in run.audit_events or () if found.type != "paused"]
    return event(events[-1], call.now) if events else None


def _reasons(call: Call, known: Study) -> tuple[Reason, ...]:
    return reasons(known.explanation, known.run, known.definition, call.now)


def problems_of(errors: dict[str, str]) -> str:
    """Return what is wrong with the fields of a decision, for those who have filled them in."""
    return "; ".join(f"{visible(field)} {visible(said)}" for field, said in errors.items())

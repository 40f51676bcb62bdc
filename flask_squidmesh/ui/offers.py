"""What a visitor is offered to do with a run: what its state allows, and they may do.

Each offer says beforehand what it leads to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import url_for

from flask_squidmesh.current import state
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.lifecycle.facts import Limits
from flask_squidmesh.operations import list_workflows
from flask_squidmesh.types import Explanation, Run
from flask_squidmesh.ui import consequences, forgery
from flask_squidmesh.ui.access import Visitor
from flask_squidmesh.ui.consequences import Answer
from flask_squidmesh.ui.forgery import Ticket
from flask_squidmesh.ui.phrases import follows
from flask_squidmesh.ui.text import Sentence, listed, name, say
from flask_squidmesh.ui.when import Moment, moment

_ANSWERS: Final[dict[str, tuple[Answer, ...]]] = {
    "approval": ("approve", "reject"),
    "pause": ("unblock",),
}
_LABELS: Final = {
    "approve": "Approve",
    "reject": "Reject",
    "unblock": "Let it go on",
    "cancel": "Cancel the run",
    "replay": "Replay the run",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be done: `url` takes the form, None when the visitor may not do it."""

    verb: str
    label: str
    url: str | None
    leads_to: Sentence


@dataclass(frozen=True, slots=True)
class Question:
    """The pause or approval at which a run stands, and what each answer leads to.

    `ticket` is None when no answer may be given, or none can be signed:
    `is_unsigned` tells the two apart.
    """

    step: str
    visit: int
    kind: str
    since: Moment | None
    url: str
    answers: tuple[Offer, ...]
    ticket: Ticket | None
    is_unsigned: bool

    @property
    def is_open(self) -> bool:
        """Whether the visitor may give at least one of the answers."""
        return any(answer.url is not None for answer in self.answers)


def limits_now() -> Limits:
    """Return the limits that decisions are made under."""
    settings = state().settings
    return Limits(settings.max_step_visits, settings.max_lost_attempts)


def leading(
    definition: Definition, step: str, visit: int, answer: Answer, visits: dict[str, int]
) -> Sentence:
    """Return what *answer* leads to, as a sentence."""
    found = consequences.of_answer(
        definition, step, visit, answer, visits=visits, limits=limits_now()
    )
    first, *rest = follows(found)
    return say("{first}{rest}.", first=first.text[:1].upper() + first.text[1:], rest=tuple(rest))


def answers(
    definition: Definition,
    run: Run,
    step: str,
    visit: int,
    *,
    visitor: Visitor,
    visits: dict[str, int],
) -> tuple[Offer, ...]:
    """Return every answer to the question at *step*, those that may not be given without URL."""
    return tuple(
        Offer(
            verb,
            _LABELS[verb],
            url_for(f".{verb}", run_id=run.id) if visitor.may(f"runs:{verb}", run) else None,
            leading(definition, step, visit, verb, visits),
        )
        for verb in _ANSWERS[definition.steps_by_name[step].kind]
    )


def find_question(
    run: Run, history: Run, definition: Definition, visitor: Visitor, now: datetime
) -> Question | None:
    """Return the question at which the run stands, None when it stands at none.

    *run* is what the visitor's rights are asked about, *history* the same run
    with its step runs.
    """
    at = next((s for s in history.step_runs or () if s.status == "paused"), None)
    if at is None or history.status != "paused":
        return None
    visits = {s.step: s.visit for s in history.steps or ()}
    found = answers(definition, run, at.step, at.visit, visitor=visitor, visits=visits)
    is_open = any(answer.url is not None for answer in found)
    ticket = forgery.issue() if is_open else None
    return Question(
        step=at.step,
        visit=at.visit,
        kind=at.kind,
        since=moment(at.created_at, now),
        url=url_for(".decision", run_id=run.id, step=at.step, visit=at.visit),
        answers=found,
        ticket=ticket,
        is_unsigned=is_open and ticket is None,
    )


def find_offers(
    run: Run, history: Run, explanation: Explanation, definition: Definition, visitor: Visitor
) -> tuple[Offer, ...]:
    """Return what else can be done with the run: cancel or replay it."""
    found = []
    for verb, leads_to in (
        ("cancel", cancelling(history)),
        ("replay", replaying(history, definition)),
    ):
        is_possible = f"{verb}_run" in explanation.next_actions and leads_to is not None
        if is_possible and leads_to is not None and visitor.may(f"runs:{verb}", run):
            url = url_for(f".{verb}", run_id=run.id)
            found.append(Offer(verb, _LABELS[verb], url, leads_to))
    return tuple(found)


def cancelling(history: Run) -> Sentence | None:
    """Return what cancelling the run would do, None when it can not be cancelled."""
    executing = [s.step for s in history.step_runs or () if s.status == "running"]
    when = consequences.of_cancelling(history.status, executing=bool(executing))
    if when is None:
        return None
    if when == "at_once":
        return say(
            "The run ends at once, as cancelled. Nothing that is done already is undone, and no "
            "error route is taken."
        )
    return say(
        "The run ends as soon as {steps} does, which is not interrupted. What it returns is kept, "
        "but leads nowhere, and nothing new starts.",
        steps=_named(executing),
    )


def replaying(history: Run, definition: Definition) -> Sentence | None:
    """Return what replaying the run would do, None when its workflow is not registered."""
    today = next((w.definition for w in list_workflows() if w.name == history.workflow), None)
    if today is None:
        return None
    changed = (
        ()
        if today.fingerprint == definition.fingerprint
        else say(
            " The workflow has changed since this run was started; the new run follows {it}.",
            it=_version(today),
        )
    )
    return say(
        "A new run starts from the payload of this one, at {steps}, and does everything again. "
        "This run stays as it is.{changed}",
        steps=_named(today.entry_steps),
        changed=changed,
    )


def _version(definition: Definition) -> Sentence:
    if definition.version is None:
        return say("its present definition")
    return say("version {version}", version=name(definition.version))


def _named(steps: Sequence[str]) -> Sentence:
    return listed((name(step) for step in steps), most=4)

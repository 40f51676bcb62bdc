"""The inbox: what waits for people, the longest first, with what each answer leads to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flask import url_for

from flask_squidmesh.operations import WaitingRun, list_waiting
from flask_squidmesh.ui.offers import Offer, answers
from flask_squidmesh.ui.problems import Refused
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, name
from flask_squidmesh.ui.when import Moment, moment

PAGE = 25


@dataclass(frozen=True, slots=True)
class Item:
    """A run that waits for a person; `may_answer`: the visitor is one of those it waits for."""

    run_id: str
    workflow: Part
    version: Part | None
    step: Part
    kind: str
    since: Moment
    url: str | None
    answers: tuple[Offer, ...]
    may_answer: bool


@dataclass(frozen=True, slots=True)
class InboxPage:
    """A page of the inbox."""

    items: tuple[Item, ...]
    next_url: str | None
    first_url: str | None


def build(call: Call, after: str | None) -> InboxPage:
    """Return a page of the inbox for the visitor.

    Raises:
        Refused: The cursor is not ours.
    """
    try:
        page = list_waiting(limit=PAGE, after=after)
    except ValueError:
        raise Refused(
            400, "No such page", "This address does not lead to a page of the inbox."
        ) from None
    return InboxPage(
        items=items(call, page.items),
        next_url=None if page.next is None else url_for(".inbox", after=page.next),
        first_url=None if after is None else url_for(".inbox"),
    )


def items(call: Call, waiting: Iterable[WaitingRun]) -> tuple[Item, ...]:
    """Return what waits, for a page."""
    return tuple(_item(call, each) for each in waiting)


def _item(call: Call, waiting: WaitingRun) -> Item:
    run, definition = waiting.run, waiting.definition
    # How often other steps were entered is not known here; it matters for a loop's last visit.
    visits = {waiting.step: waiting.visit}
    found = answers(
        definition, run, waiting.step, waiting.visit, visitor=call.visitor, visits=visits
    )
    url = url_for(".decision", run_id=run.id, step=waiting.step, visit=waiting.visit)
    return Item(
        run_id=run.id,
        workflow=name(run.workflow),
        version=None if run.definition_version is None else name(run.definition_version),
        step=name(waiting.step),
        kind=definition.steps_by_name[waiting.step].kind,
        since=moment(waiting.since, call.now),
        url=url if call.visitor.may("runs:read", run) else None,
        answers=found,
        may_answer=any(answer.url is not None for answer in found),
    )

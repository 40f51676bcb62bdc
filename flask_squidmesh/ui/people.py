"""Who did something, and what was done: actors and audit events in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask_squidmesh.types import AuditEvent
from flask_squidmesh.ui.text import Part, foreign, visible
from flask_squidmesh.ui.when import Moment, moment

_NAMES: Final = ("name", "email", "username", "login", "id")
ANSWERS: Final = ("approved", "rejected", "resumed", "cancelled")
"""The events that end a question."""

_DONE: Final = {
    "approved": "approved it",
    "rejected": "rejected it",
    "resumed": "let it go on",
    "cancelled": "cancelled the run",
    "replayed": "replayed it",
    "paused": "asked for an answer",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people did, or were asked."""

    type: str
    step: str | None
    who: Part
    done: str
    comment: str | None
    more: str | None
    at: Moment


def people(actor: Any) -> Part:
    """Return who acted, by the first of the usual names that is there."""
    if actor is None:
        return Part("words", "Somebody")
    if isinstance(actor, Mapping):
        for key in _NAMES:
            value = actor.get(key)
            if isinstance(value, (str, int)) and str(value).strip():
                return foreign(value, limit=120)
        return foreign(json.dumps(actor, ensure_ascii=False), limit=120)
    return foreign(actor, limit=120)


def event(found: AuditEvent, now: datetime) -> Event:
    """Return an audit event for a page."""
    more: dict[str, Any] = {}
    if isinstance(found.actor, Mapping):
        more["actor"] = found.actor
    if found.metadata:
        more["metadata"] = found.metadata
    who = Part("words", "The workflow") if found.type == "paused" else people(found.actor)
    return Event(
        type=found.type,
        step=None if found.step is None else visible(found.step),
        who=who,
        done=_DONE.get(found.type, found.type),
        comment=None if found.comment is None else visible(found.comment, limit=4_000),
        more=visible(json.dumps(more, ensure_ascii=False), limit=2_000) if more else None,
        at=moment(found.at, now),
    )


def find_answer(events: Sequence[AuditEvent], step: str, visit: int) -> AuditEvent | None:
    """Return the event that ended the question of this visit of *step*, None while it is open."""
    asked = 0
    for found in events:
        if found.type == "paused" and found.step == step:
            asked += 1
        elif asked == visit and found.type in ANSWERS and found.step == step:
            return found
    return None

"""The page on which a run is started: the trigger, and the payload as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import url_for

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.ui import forgery
from flask_squidmesh.ui.forgery import Ticket
from flask_squidmesh.ui.pages.workflows import Trigger, find, triggers_of
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, Sentence, listed, name, say, visible


@dataclass(frozen=True, slots=True)
class StartPage:
    """The form, as it was sent if it was refused, with what is wrong with it."""

    workflow: Part
    url: str
    post_url: str
    triggers: tuple[Trigger, ...]
    trigger: str
    payload: str
    leads_to: Sentence
    problems: tuple[tuple[str, str], ...]
    ticket: Ticket | None


def build(
    call: Call,
    *,
    trigger: str | None = None,
    payload: str | None = None,
    errors: Mapping[str, Any] | None = None,
) -> StartPage:
    """Return the form for the workflow of the call; *errors* are by field, as marshmallow's are.

    Raises:
        UnknownWorkflow: It is not registered.
    """
    definition = find(call.arguments["name"]).definition
    known = [spec.name for spec in definition.triggers]
    chosen = trigger if trigger in known else known[0]
    return StartPage(
        workflow=name(definition.name),
        url=url_for(".workflow", name=definition.name),
        post_url=url_for(".start", name=definition.name),
        triggers=triggers_of(call, definition, {}),
        trigger=chosen,
        payload=_empty(definition, chosen) if payload is None else payload,
        leads_to=say(
            "A new run starts at {steps}, as soon as a worker is free.",
            steps=listed((name(step) for step in definition.entry_steps), most=4),
        ),
        problems=tuple(
            (visible(field, limit=120), visible(_said(said), limit=500))
            for field, said in (errors or {}).items()
        ),
        ticket=forgery.issue(),
    )


def _empty(definition: Definition, trigger: str) -> str:
    """Return an object with the fields of the trigger, to be filled in."""
    spec = definition.trigger(trigger)
    fields = {} if spec is None else spec.fields
    return json.dumps(dict.fromkeys(fields), indent=2)


def _said(said: object) -> str:
    if isinstance(said, list):
        return " ".join(map(str, said))
    return said if isinstance(said, str) else json.dumps(said, default=str)


def read_payload(text: str) -> dict[str, Any]:
    """Return the payload that was typed in.

    Raises:
        ValueError: It is not a JSON object; the text says what is wrong.
    """
    try:
        payload = json.loads(text or "{}")
        documents.encode(payload, what="payload")
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"This is not JSON: {error.msg} ({where}).") from None
    except documents.DocumentError as error:
        raise ValueError(f"This is not JSON: {error.reason}.") from None
    if not isinstance(payload, dict):
        raise ValueError(  # noqa: TRY004  # of the text, which is all there is
            "The payload is a JSON object: begin it with { and end it with }."
        )
    return payload

"""The POSTs: each carries out one operation, as the visitor, and then leads to the run.

What can not be done any more, because somebody else was faster, is answered
with 409 and a page that says who that was. Sending a form twice does nothing
twice: it carries an idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Response, request

from flask_squidmesh.exceptions import (
    DocumentTooLarge,
    IdempotencyConflict,
    InvalidDecision,
    InvalidTransition,
    PayloadError,
    UnknownTrigger,
    WrongStepKind,
)
from flask_squidmesh.operations import (
    approve_run,
    cancel_run,
    reject_run,
    replay_run,
    start_run,
    unblock_run,
)
from flask_squidmesh.types import Run
from flask_squidmesh.ui import answers
from flask_squidmesh.ui.pages import decision as pages
from flask_squidmesh.ui.pages import start as start_page
from flask_squidmesh.ui.pages import workflows as workflows_page
from flask_squidmesh.ui.pages.decision import Sent
from flask_squidmesh.ui.problems import Refused
from flask_squidmesh.ui.route import Call

_LABELS: Final = {
    "approve": "to approve",
    "reject": "to reject",
    "unblock": "to let it go on",
    "cancel": "to cancel the run",
    "replay": "to replay the run",
}


def approve(call: Call) -> Response:
    """Approve what was asked."""
    return _answer(call, "approve", approve_run)


def reject(call: Call) -> Response:
    """Reject what was asked."""
    return _answer(call, "reject", reject_run)


def unblock(call: Call) -> Response:
    """Let a run go on that stands at a pause."""
    return _answer(call, "unblock", unblock_run)


def cancel(call: Call) -> Response:
    """Cancel the run."""
    return _change(call, "cancel", cancel_run)


def replay(call: Call) -> Response:
    """Start a new run from what this one was asked for, and lead there."""
    return _change(call, "replay", replay_run)


def start(call: Call) -> Response:
    """Start a run of a workflow."""
    text = request.form.get("payload", "")
    trigger = request.form.get("trigger") or None
    workflows_page.find(call.arguments["name"])
    try:
        payload = start_page.read_payload(text)
        run = start_run(
            call.arguments["name"], payload, trigger=trigger, idempotency_key=_key(call)
        )
    except ValueError as error:
        return _not_started(call, {"payload": str(error)})
    except PayloadError as error:
        return _not_started(call, error.messages)
    except DocumentTooLarge as error:
        return _not_started(call, {"payload": error.message()})
    except UnknownTrigger:
        return _not_started(call, {"trigger": "There is no such trigger."})
    except IdempotencyConflict:
        return _not_started(call, {"form": "It was sent already, with another payload."}, 409)
    return _to_run(call, run)


def _not_started(call: Call, errors: dict[str, Any], status: int = 422) -> Response:
    trigger, text = request.form.get("trigger"), request.form.get("payload", "")
    model = start_page.build(call, trigger=trigger, payload=text, errors=errors)
    return answers.page(call, "start.html", status=status, live=False, page=model)


def _answer(call: Call, verb: str, operation: Callable[..., Run]) -> Response:
    step, visit = request.form.get("step", ""), request.form.get("visit", "")
    if not (visit.isascii() and visit.isdigit() and len(visit) < 10):
        raise Refused(400, "Please try again", "This form does not say what it answers.")
    at = (step, int(visit))

    def again(status: int, sent: Sent) -> Response:
        _require_reader(call, sent)
        model = pages.decision(call, *at, sent)
        return answers.page(call, "decision.html", status=status, live=False, page=model)

    return _carry_out(call, verb, lambda **said: operation(at=at, **said), again)


def _change(call: Call, verb: str, operation: Callable[..., Run]) -> Response:
    def again(status: int, sent: Sent) -> Response:
        _require_reader(call, sent)
        model = pages.change(call, verb, sent)
        return answers.page(call, "change.html", status=status, live=False, verb=verb, page=model)

    return _carry_out(call, verb, operation, again)


def _require_reader(call: Call, sent: Sent) -> None:
    """Tell those who may not read the run no more than that nothing was done.

    Raises:
        Refused: The visitor is one of them.
    """
    if not call.visitor.may("runs:read", call.run):
        status = 409 if sent.is_late else 422
        text = sent.problem or "The run does not allow it any more. Nothing was changed."
        raise Refused(status, "That was not done", text)


def _carry_out(
    call: Call, verb: str, operation: Callable[..., Run], again: Callable[[int, Sent], Response]
) -> Response:
    comment = request.form.get("comment", "").replace("\r\n", "\n").strip()
    label = _LABELS[verb]
    try:
        run = operation(
            run_id=call.require_run().id,
            actor=call.actor,
            comment=comment or None,
            idempotency_key=_key(call),
        )
    except (InvalidTransition, WrongStepKind, IdempotencyConflict):
        return again(409, Sent(label, comment, is_late=True))
    except InvalidDecision as error:
        return again(422, Sent(label, comment, pages.problems_of(error.errors)))
    return _to_run(call, run)


def _key(call: Call) -> str | None:
    """Return the idempotency key of the form, apart from those of other interfaces."""
    return None if call.key is None else f"dashboard:{call.key}"


def _to_run(call: Call, run: Run) -> Response:
    """Lead to the run; who may not read it is only told that it is done."""
    if call.visitor.may("runs:read", run):
        return answers.see_other(".run", run_id=run.id)
    return answers.page(call, "done.html", live=False, run_id=run.id)

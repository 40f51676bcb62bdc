"""The JSON interface: requests in, boundary calls, documents out.

Who is asking comes from the header X-Actor. That stands for the login of a
real application: never believe such a header from the internet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from flask_squidmesh import (
    DocumentTooLarge,
    IdempotencyConflict,
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    PayloadError,
    Run,
    RunNotFound,
    SquidMeshError,
    WrongStepKind,
)
from minimal_host_app import boundary

blueprint = Blueprint("runs", __name__)

REFUSALS: dict[type[SquidMeshError], tuple[int, str]] = {
    InvalidRunId: (400, "invalid_run_id"),
    RunNotFound: (404, "run_not_found"),
    IdempotencyConflict: (409, "idempotency_conflict"),
    InvalidTransition: (409, "invalid_transition"),
    WrongStepKind: (409, "wrong_step_kind"),
    DocumentTooLarge: (413, "document_too_large"),
    InvalidDecision: (422, "invalid_decision"),
    PayloadError: (422, "payload_invalid"),
}
DECISIONS: dict[str, Callable[..., Run]] = {
    "approve": boundary.approve,
    "reject": boundary.reject,
    "unblock": boundary.unblock,
    "cancel": boundary.cancel,
}


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(boundary.UnknownInvoice, unknown_invoice)
    for refusal in REFUSALS:
        app.register_error_handler(refusal, refused)


@blueprint.post("/payment-recoveries")
def start_payment_recovery() -> ResponseReturnValue:
    return started(boundary.start_payment_recovery(body(), idempotency_key=idempotency_key()))


@blueprint.post("/approvals")
def start_manual_approval() -> ResponseReturnValue:
    return started(boundary.start_manual_approval(body(), idempotency_key=idempotency_key()))


@blueprint.get("/runs")
def list_runs() -> ResponseReturnValue:
    filters: dict[str, Any] = request.args.to_dict()
    try:
        if "limit" in filters:
            filters["limit"] = int(filters["limit"])
        return boundary.list_runs(**filters).to_dict()
    except (TypeError, ValueError) as problem:
        raise BadRequest(str(problem)) from problem


@blueprint.get("/runs/<run_id>")
def show_run(run_id: str) -> ResponseReturnValue:
    return boundary.inspect(run_id, include_history="include_history" in request.args).to_dict()


@blueprint.post(f"/runs/<run_id>/<any({','.join(DECISIONS)}):verb>")
def decide(run_id: str, verb: str) -> ResponseReturnValue:
    said = body()
    if unknown := said.keys() - {"comment"}:
        raise BadRequest(f"only a comment is expected, not {', '.join(sorted(unknown))}")
    actor = request.headers.get("X-Actor")
    return DECISIONS[verb](run_id, actor=actor, comment=said.get("comment")).to_dict()


def started(run: Run) -> ResponseReturnValue:
    return run.to_dict(), 201, {"Location": url_for("runs.show_run", run_id=run.id)}


def body() -> dict[str, Any]:
    said = request.get_json()
    if not isinstance(said, dict):
        raise BadRequest("send a JSON object")
    return said


def idempotency_key() -> str | None:
    return request.headers.get("Idempotency-Key")


def problem(status: int, code: str, detail: str | None, **more: Any) -> ResponseReturnValue:
    return {"status": status, "code": code, "detail": detail, **more}, status


def refused(error: SquidMeshError) -> ResponseReturnValue:
    status, code = REFUSALS[type(error)]
    match error:
        case PayloadError():
            return problem(status, code, str(error), errors=error.messages)
        case InvalidDecision():
            return problem(status, code, str(error), errors=error.errors)
    return problem(status, code, str(error))


def unknown_invoice(error: boundary.UnknownInvoice) -> ResponseReturnValue:
    return problem(404, "unknown_invoice", str(error))


def http_error(error: HTTPException) -> ResponseReturnValue:
    return problem(error.code or 500, error.name.lower().replace(" ", "_"), error.description)

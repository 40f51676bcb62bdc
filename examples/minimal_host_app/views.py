"""The JSON interface: requests in, boundary calls, documents out.

Who is asking comes from the header X-Actor. That stands for the login of a
real application: never believe such a header from the internet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from flask_squidmesh import Run
from minimal_host_app import accounts, boundary

blueprint = Blueprint("runs", __name__)

STARTS: dict[str, Callable[..., Run]] = {
    "payment-recoveries": boundary.start_payment_recovery,
    "payment-plans": boundary.start_payment_plan,
    "approvals": boundary.start_manual_approval,
    "digests": boundary.start_digest,
    "reminders": boundary.start_reminder,
    "transfer-verifications": boundary.start_verification,
    "checkouts": boundary.start_checkout,
}
DECISIONS: dict[str, Callable[..., Run]] = {
    "approve": boundary.approve,
    "reject": boundary.reject,
    "unblock": boundary.unblock,
    "cancel": boundary.cancel,
}


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.post(f"/<any({','.join(map(repr, STARTS))}):what>")
def start(what: str) -> ResponseReturnValue:
    run = STARTS[what](body(), idempotency_key=request.headers.get("Idempotency-Key"))
    return run.to_dict(), 201, {"Location": url_for("runs.show_run", run_id=run.id)}


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


@blueprint.get("/runs/<run_id>/explanation")
def explain_run(run_id: str) -> ResponseReturnValue:
    return boundary.explain(run_id).to_dict()


@blueprint.post(f"/runs/<run_id>/<any({','.join(DECISIONS)}):verb>")
def decide(run_id: str, verb: str) -> ResponseReturnValue:
    said = body()
    if unknown := said.keys() - {"comment"}:
        raise BadRequest(f"only a comment is expected, not {', '.join(sorted(unknown))}")
    actor = request.headers.get("X-Actor")
    return DECISIONS[verb](run_id, actor=actor, comment=said.get("comment")).to_dict()


@blueprint.get("/accounts/<account_id>")
def show_account(account_id: str) -> ResponseReturnValue:
    return accounts.statement(account_id)


@blueprint.post("/transfers")
def record_transfer() -> ResponseReturnValue:
    """Hear from the bank that money has arrived; it may tell us twice."""
    match body():
        case {"reference": str(reference), "account_id": str(account), "amount": int(amount)}:
            is_new = accounts.record_transfer(reference, account, amount)
            return {"reference": reference}, 201 if is_new else 200
    raise BadRequest("send a reference, an account_id and an amount in cents")


def body() -> dict[str, Any]:
    said = request.get_json()
    if not isinstance(said, dict):
        raise BadRequest("send a JSON object")
    return said

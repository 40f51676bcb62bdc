"""How a refusal is answered: each error with its HTTP status and a code that stays the same."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from flask_squidmesh import (
    DocumentTooLarge,
    IdempotencyConflict,
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    PayloadError,
    RunNotFound,
    WrongStepKind,
)
from minimal_host_app.accounts import UnknownAccount
from minimal_host_app.boundary import InvoiceNotOpen, UnknownInvoice

REFUSALS: dict[type[Exception], tuple[int, str]] = {
    InvalidRunId: (400, "invalid_run_id"),
    RunNotFound: (404, "run_not_found"),
    UnknownAccount: (404, "unknown_account"),
    UnknownInvoice: (404, "unknown_invoice"),
    IdempotencyConflict: (409, "idempotency_conflict"),
    InvalidTransition: (409, "invalid_transition"),
    InvoiceNotOpen: (409, "invoice_not_open"),
    WrongStepKind: (409, "wrong_step_kind"),
    DocumentTooLarge: (413, "document_too_large"),
    InvalidDecision: (422, "invalid_decision"),
    PayloadError: (422, "payload_invalid"),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, http_error)
    for refusal in REFUSALS:
        app.register_error_handler(refusal, refused)


def refused(error: Exception) -> ResponseReturnValue:
    status, code = REFUSALS[type(error)]
    match error:
        case PayloadError():
            return problem(status, code, str(error), errors=error.messages)
        case InvalidDecision():
            return problem(status, code, str(error), errors=error.errors)
    return problem(status, code, str(error))


def http_error(error: HTTPException) -> ResponseReturnValue:
    return problem(error.code or 500, error.name.lower().replace(" ", "_"), error.description)


def problem(status: int, code: str, detail: str | None, **more: Any) -> ResponseReturnValue:
    return {"status": status, "code": code, "detail": detail, **more}, status

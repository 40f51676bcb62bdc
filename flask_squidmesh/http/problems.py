"""Refusals as `application/problem+json` (RFC 9457), each with a stable `code`.

The texts are for the callers of the API: they name nothing of the server, no
setting, no other run and no other workflow. What went wrong inside goes to the
application's log by Flask's own way, and the caller learns `internal_error`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import singledispatch
from typing import Any, Final

from flask import Response
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.http import HTTP_STATUS_CODES

from flask_squidmesh.exceptions import (
    DefinitionUnavailable,
    DocumentTooLarge,
    IdempotencyConflict,
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    PayloadError,
    RunNotFound,
    SquidMeshError,
    UnknownTrigger,
    UnknownWorkflow,
    WrongStepKind,
)

MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[Mapping[str, int]] = {
    "invalid_json": 400,
    "invalid_run_id": 400,
    "invalid_query": 400,
    "invalid_idempotency_key": 400,
    "forbidden": 403,
    "run_not_found": 404,
    "unknown_workflow": 404,
    "unknown_trigger": 404,
    "method_not_allowed": 405,
    "invalid_transition": 409,
    "wrong_step_kind": 409,
    "idempotency_conflict": 409,
    "definition_unavailable": 409,
    "document_too_large": 413,
    "unsupported_media_type": 415,
    "payload_invalid": 422,
    "invalid_decision": 422,
    "internal_error": 500,
    "openapi_unavailable": 501,
}
"""Every code of ours, and the status it comes with."""


class Refused(Exception):
    """A request that is refused: the code, a sentence, and facts for programs."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: object = None,
        headers: Mapping[str, str] | None = None,
        **facts: str,
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        self.facts = facts


def forbidden() -> Refused:
    """Return the one answer to everything that is not granted."""
    return Refused("forbidden", "You may not do this.")


def answer(problem: Refused) -> Response:
    """Return the response for a refusal."""
    status = STATUSES[problem.code]
    document: dict[str, Any] = _document(status, problem.code, problem.detail)
    document.update(problem.facts)
    if problem.errors is not None:
        document["errors"] = _messages(problem.errors)
    return _response(document, status, problem.headers)


def answer_error(error: SquidMeshError) -> Response:
    """Return the response for what the operations raise; other errors are raised again."""
    return answer(_refusal(error))


def answer_abort(error: HTTPException) -> HTTPException | Response:
    """Return the response for what the host, or Werkzeug, has aborted with."""
    status = error.code
    if error.response is not None or status is None or status < 400:
        return error
    if isinstance(error, InternalServerError):
        # Also what an unexpected error becomes, once Flask has logged it.
        return answer(Refused("internal_error", "Something went wrong on the server."))
    code = re.sub(r"\W+", "_", error.name).lower()
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return _response(_document(status, code, error.description or error.name), status, headers)


@singledispatch
def _refusal(error: SquidMeshError) -> Refused:
    """Return what the caller is told about *error*; ours, such as `ConfigError`, stay inside."""
    raise error


@_refusal.register
def _(_: InvalidRunId) -> Refused:
    return Refused("invalid_run_id", "This is not the id of a run; ids are UUIDs.")


@_refusal.register
def _(_: RunNotFound) -> Refused:
    return Refused("run_not_found", "No run has this id.")


@_refusal.register
def _(error: UnknownWorkflow) -> Refused:
    return Refused("unknown_workflow", f"There is no workflow {error.workflow!r}.")


@_refusal.register
def _(error: UnknownTrigger) -> Refused:
    detail = f"The workflow {error.workflow!r} has no trigger {error.trigger!r}."
    return Refused("unknown_trigger", detail)


@_refusal.register
def _(error: InvalidTransition) -> Refused:
    return Refused(
        "invalid_transition",
        f"A run that is {error.current} does not allow this: {error.requested}. "
        "Somebody may have been faster; read the run again.",
        current=error.current,
        requested=error.requested,
    )


@_refusal.register
def _(error: WrongStepKind) -> Refused:
    remedy = "approve or reject it" if error.kind == "approval" else "unblock it"
    detail = f"The run stands at {error.step!r}, which is of kind {error.kind!r}: {remedy}."
    return Refused("wrong_step_kind", detail, step=error.step, kind=error.kind)


@_refusal.register
def _(_: IdempotencyConflict) -> Refused:
    return Refused(
        "idempotency_conflict",
        "The idempotency key was used for another request; "
        "use a new key for what is not a repetition.",
    )


@_refusal.register
def _(error: DefinitionUnavailable) -> Refused:
    detail = f"The workflow {error.workflow!r} is not available at the moment."
    return Refused("definition_unavailable", detail)


@_refusal.register
def _(error: DocumentTooLarge) -> Refused:
    detail = f"The {error.what} has {error.size} bytes as JSON; {error.limit} are allowed."
    return Refused("document_too_large", detail)


@_refusal.register
def _(error: PayloadError) -> Refused:
    detail = "The payload breaks the contract of the trigger; see the errors."
    return Refused("payload_invalid", detail, errors=error.messages)


@_refusal.register
def _(error: InvalidDecision) -> Refused:
    detail = "The decision is not acceptable; see the errors."
    return Refused("invalid_decision", detail, errors=error.errors)


def _document(status: int, code: str, detail: str) -> dict[str, Any]:
    title = HTTP_STATUS_CODES.get(status, code)
    return {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}


def _response(document: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    return Response(json.dumps(document), status, headers, mimetype=MEDIA_TYPE)


def _messages(errors: object) -> object:
    """Return the messages of fields in one shape: lists of text, or further fields."""
    if isinstance(errors, Mapping):
        return {str(field): _messages(said) for field, said in errors.items()}
    if isinstance(errors, (list, tuple)):
        return [str(said) for said in errors]
    return [str(errors)]

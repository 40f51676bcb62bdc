"""Errors as they are stored: `{"code", "message", "type", "details", "retryable"}`."""

from __future__ import annotations

import traceback as tracebacks
from typing import Any, Final

from flask_squidmesh.definition import documents
from flask_squidmesh.exceptions import DocumentTooLarge, RetryStep, StepFailed, ToolError
from flask_squidmesh.lifecycle.facts import Error

LONGEST_MESSAGE: Final = 2_000
LONGEST_TRACEBACK: Final = 16_000
LARGEST_DETAILS: Final = 16_384


def make(
    code: str,
    message: str,
    *,
    cause: BaseException | None = None,
    details: Any = None,
    retryable: bool = False,
) -> Error:
    """Return an error document; `type` is the module and class of *cause*."""
    return {
        "code": code,
        "message": message[:LONGEST_MESSAGE],
        "type": type_name(cause) if cause is not None else None,
        "details": details,
        "retryable": retryable,
    }


def of_exception(error: BaseException) -> Error:
    """Return the error document of what a step function raised."""
    if isinstance(error, StepFailed):
        code = error.code if isinstance(error.code, str) and error.code else "step_failed"
        return make(code, text_of(error), cause=error, details=_safe_details(error.details))
    if isinstance(error, RetryStep):
        return make("retry_requested", text_of(error), cause=error, retryable=True)
    if isinstance(error, ToolError):
        details = {
            "adapter": error.adapter,
            "kind": error.kind,
            "details": _safe_details(error.details),
        }
        return make(
            "exception", text_of(error), cause=error, details=details, retryable=error.retryable
        )
    return make("exception", text_of(error), cause=error, retryable=True)


def of_database(error: BaseException) -> Error:
    """Return the error document of a database that failed while a step was being recorded.

    It took the step's writes with it through no fault of the step, which is as
    if its worker had vanished.
    """
    text = f"the database failed while the step was committed: {text_of(error)}"
    return make("worker_lost", text, cause=error, retryable=True)


def type_name(error: BaseException) -> str:
    """Return the module and class of *error*."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def text_of(error: BaseException) -> str:
    """Return what *error* says, also when saying it fails or it says nothing."""
    try:
        return str(error) or type(error).__qualname__
    except BaseException as second:  # noqa: BLE001  # whatever the user's __str__ raises
        return f"{type(error).__qualname__} (its text could not be had: {type(second).__name__})"


def traceback_of(error: BaseException) -> str:
    """Return the end of the traceback's text, without any local values."""
    try:
        lines = tracebacks.format_exception(error)
    except BaseException:  # noqa: BLE001  # whatever the user's __str__ raises
        # The text of the exception itself could not be had; where it was raised can.
        lines = tracebacks.format_tb(error.__traceback__)
    return "".join(lines)[-LONGEST_TRACEBACK:]


def _safe_details(details: object) -> Any:
    try:
        return documents.decode(
            documents.encode(details, what="error details", limit=LARGEST_DETAILS)
        )
    except (documents.DocumentError, DocumentTooLarge) as error:
        return {"omitted": error.message()}

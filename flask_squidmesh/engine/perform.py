"""Executes one attempt: the only place where the code of the user runs.

No transaction of the engine is open here. What comes out is plain data, an
outcome with an encoded output; whatever the step function raises or returns,
`perform` answers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError

from flask_squidmesh.definition import documents, inputs
from flask_squidmesh.engine import errors
from flask_squidmesh.engine.memory import Held
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.step_context import StepContext
from flask_squidmesh.exceptions import DocumentTooLarge, RetryStep
from flask_squidmesh.lifecycle.facts import Error, Failed, Succeeded

logger = logging.getLogger("flask_squidmesh.steps")


@dataclass(frozen=True, slots=True)
class Performed:
    """How an attempt ended: the outcome, the encoded output, the traceback's text."""

    outcome: Succeeded | Failed
    output: str | None = None
    traceback: str | None = None


class WorkerGone(BaseException):
    """Stands for the death of the worker at this line: nothing of the attempt is recorded."""


class _Refused(Exception):
    """The step can not run, or its result can not be kept."""

    def __init__(self, error: Error) -> None:
        super().__init__(error["message"])
        self.error = error


def perform(runtime: Runtime, held: Held) -> Performed:
    """Execute the step of *held* and return how it ended.

    Expects the app context of this step. Whatever the step did with the host's
    session is left there, flushed if the step succeeded, for `settle` to
    commit or to roll back.
    """
    kind = held.step.kind
    if kind == "log":
        level = logging.getLevelNamesMapping()[(held.step.level or "info").upper()]
        logger.log(level, "%s", held.step.message)
        return Performed(Succeeded())
    if kind != "step":
        return Performed(Succeeded())
    try:
        if held.step.transaction:
            output = _call(runtime, held)
            runtime.host.flush()
        else:
            output = _call_apart(runtime, held)
        return Performed(Succeeded(), output)
    except _Refused as refused:
        return Performed(Failed(refused.error))
    except (KeyboardInterrupt, WorkerGone):
        raise
    except BaseException as error:  # noqa: BLE001  # whatever the step raises is its outcome
        return _failed(held, error)


def _failed(held: Held, error: BaseException) -> Performed:
    logger.warning(
        "attempt %s of step %s failed in run %s",
        held.branch.attempt,
        held.branch.step,
        held.run.id,
        exc_info=error,
    )
    delay = error.delay if isinstance(error, RetryStep) else None
    return Performed(
        Failed(errors.of_exception(error), delay), traceback=errors.traceback_of(error)
    )


def _call(runtime: Runtime, held: Held) -> str | None:
    name = held.branch.step
    try:
        seen = inputs.select(held.step, inputs.visible(held.memory.payload, held.memory.context))
        seen = _loaded(held.code.input_schemas.get(name), seen, "invalid_input", "input")
        args, kwargs = inputs.bind(held.code.parameters[name], seen, StepContext(runtime, held))
    except inputs.MissingInput as error:
        raise _Refused(errors.make("missing_input", error.message())) from error
    returned = held.code.functions[name](*args, **kwargs)
    checked = _loaded(held.code.output_schemas.get(name), returned, "invalid_output", "output")
    return _encoded(runtime, held, checked)


def _loaded(schema: Schema | None, value: Any, code: str, what: str) -> Any:
    if schema is None:
        return value
    try:
        return schema.load(value)
    except ValidationError as error:
        raise _Refused(
            errors.make(
                code,
                f"the {what} breaks the step's {what} schema: {error}",
                cause=error,
                details=error.messages,
            )
        ) from error


def _encoded(runtime: Runtime, held: Held, value: Any) -> str | None:
    keyed = held.step.output is not None
    if value is None and not keyed:
        return None
    try:
        output = documents.encode(value, what="output", limit=runtime.settings.max_document_bytes)
        if not keyed and not output.startswith("{"):
            raise _Refused(
                errors.make(
                    "invalid_output",
                    f"step {held.branch.step!r} returned {type(value).__name__}; return a mapping "
                    "or None, or declare the step with output= to keep any JSON value",
                )
            )
        _check_context_size(runtime, held, output)
    except documents.DocumentError as error:
        raise _Refused(errors.make("invalid_output", error.message())) from error
    except DocumentTooLarge as error:
        raise _Refused(errors.make("document_too_large", error.message())) from error
    return output


def _check_context_size(runtime: Runtime, held: Held, output: str) -> None:
    """Refuse an output with which the context outgrows the limit.

    The sum of the outputs bounds the context from above; only when that is too
    much is the context itself, in which outputs may replace each other, measured.
    """
    limit = runtime.settings.max_document_bytes
    if held.memory.context_bytes + len(output) <= limit:
        return
    context = dict(held.memory.context)
    value = documents.decode(output)
    context.update({held.step.output: value} if held.step.output is not None else value)
    documents.encode(context, what="context", limit=limit)


def _call_apart(runtime: Runtime, held: Held) -> str | None:
    """Call a step that opted out of the common transaction; nothing uncommitted is kept."""
    with runtime.host.watching_writes() as has_uncommitted_writes:
        try:
            output = _call(runtime, held)
        finally:
            if has_uncommitted_writes():
                logger.warning(
                    "step %s is declared with transaction=False and left uncommitted writes in "
                    "db.session; they are rolled back: commit them in the step, or remove "
                    "transaction=False",
                    held.branch.step,
                )
            runtime.host.rollback()
    return output

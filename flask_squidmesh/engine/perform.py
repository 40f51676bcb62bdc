"""Executes one attempt: the only place where the code of the user runs.

No transaction of the engine is open here. What comes out is plain data, an
outcome with an encoded output; whatever the step function raises or returns,
`perform` answers.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from marshmallow import Schema, ValidationError

from flask_squidmesh.definition import documents, inputs
from flask_squidmesh.engine import errors
from flask_squidmesh.engine.memory import Held
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.step_context import StepContext
from flask_squidmesh.exceptions import DocumentTooLarge, RetryStep
from flask_squidmesh.lifecycle.facts import Error, Failed, Lost, Succeeded
from flask_squidmesh.store.dialect import is_passing

logger = logging.getLogger("flask_squidmesh.steps")


@dataclass(frozen=True, slots=True)
class Performed:
    """How an attempt ended: the outcome, the encoded output, the traceback's text."""

    outcome: Succeeded | Failed | Lost
    output: str | None = None
    traceback: str | None = None


class WorkerGone(BaseException):
    """Stands for the death of the worker at this line: nothing of the attempt is recorded."""


class _WritesLost(Exception):
    """The step has returned, and the database failed while its writes were sent."""


class _Refused(Exception):
    """The step can not run, or its result can not be kept."""

    def __init__(self, error: Error) -> None:
        super().__init__(error["message"])
        self.error = error


def perform(runtime: Runtime, held: Held, *, is_ending: Callable[[], bool]) -> Performed:
    """Execute the step of *held* and return how it ended.

    Expects the app context of this step. Whatever the step did with the host's
    session is left there, flushed if the step succeeded, for `settle` to
    commit or to roll back.

    A worker that is told to end at once does so by a `SystemExit` in the middle
    of the step. That is no failure of the step, so where *is_ending* says that
    it was this, it passes, and the lease runs out as with a killed worker.
    """
    context = runtime.host.scope()
    try:
        return Performed(Succeeded(), _output(runtime, held, context))
    except _Refused as refused:
        return Performed(Failed(refused.error))
    except _WritesLost as lost:
        return Performed(Lost(errors.of_database(lost.__cause__ or lost)))
    except (KeyboardInterrupt, WorkerGone):
        raise
    except BaseException as error:
        if isinstance(error, SystemExit) and is_ending():
            raise
        return _failed(held, error)
    finally:
        if runtime.host.scope() != context:
            # The session it worked with can not be reached any more, by nobody.
            runtime.host.forget(context)


def _output(runtime: Runtime, held: Held, context: object) -> str | None:
    """Do what the step is for, in the app *context*, and return its output, encoded."""
    kind = held.step.kind
    if kind == "log":
        level = logging.getLevelNamesMapping()[(held.step.level or "info").upper()]
        logger.log(level, "%s", held.step.message)
    if kind != "step":
        return None
    output = (_call if held.step.transaction else _call_apart)(runtime, held)
    if runtime.host.scope() != context:
        raise RuntimeError(
            f"step {held.branch.step!r} returned in another app context than it was called in, so "
            "what it did with db.session is lost: pop every context that it pushes, and no other"
        )
    try:
        runtime.host.flush()
    except Exception as error:
        if is_passing(error):
            raise _WritesLost from error
        raise
    return output


def _failed(held: Held, error: BaseException) -> Performed:
    # The host's handlers may raise, and the failure must be recorded all the same.
    with suppress(Exception):
        logger.warning(
            "attempt %s of step %s failed in run %s",
            held.branch.attempt,
            held.branch.step,
            held.run.id,
            exc_info=error,
        )
    delay = _seconds(error.delay) if isinstance(error, RetryStep) else None
    return Performed(
        Failed(errors.of_exception(error), delay), traceback=errors.traceback_of(error)
    )


def _seconds(delay: object) -> float | None:
    """Return the delay a step asked for; None, which keeps the backoff, when it is none."""
    try:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)  # type: ignore[arg-type]  # tried
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def _call(runtime: Runtime, held: Held) -> str | None:
    name, memory = held.branch.step, held.memory
    schema, parameters = held.code.input_schemas.get(name), held.code.parameters[name]
    needs_all = held.step.input is None and (schema is not None or parameters.everything)
    put_together = inputs.visible if needs_all else inputs.overlay
    try:
        seen = inputs.select(held.step, put_together(memory.payload, memory.context))
        seen = _loaded(schema, seen, "invalid_input", "input")
        args, kwargs = inputs.bind(parameters, seen, StepContext(runtime, held))
    except inputs.MissingInput as error:
        raise _Refused(errors.make("missing_input", error.message())) from error
    # The steps after it in this worker see the run as it is stored, whatever this one changes.
    given, named = documents.copied(args), documents.copied(kwargs)
    returned = _call_here(lambda: held.code.functions[name](*given, **named))
    checked = _loaded(held.code.output_schemas.get(name), returned, "invalid_output", "output")
    return _encoded(runtime, held, checked)


def _call_here(function: Callable[[], Any]) -> Any:
    """Call *function* and come back in this process only.

    A child that it forked may come back, too, because it forgot to end or
    because it raised: a copy of the worker, with the same claim and the same
    connections. It ends here.
    """
    worker = os.getpid()
    try:
        returned = function()
    except BaseException as error:
        if os.getpid() != worker:
            _end_child(error)
        raise
    if os.getpid() != worker:
        _end_child(None)
    return returned


def _end_child(error: BaseException | None) -> NoReturn:
    code: object = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    # Nothing else of the worker's may be done in its copy: not even what `sys.exit` would do.
    os._exit(code if isinstance(code, int) else 1)


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

"""Log records made while a step runs carry `run_id`, `workflow`, `step` and `attempt`.

Whoever logs them, since it is the record that knows. The fields give way to
what the caller has named alike in `extra`; outside of steps records are left
as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import cache
from typing import Any

from flask_squidmesh.engine.memory import Held

_running: ContextVar[Mapping[str, Any] | None] = ContextVar("squidmesh_step", default=None)


class during(AbstractContextManager[None]):  # noqa: N801  # called like a function
    """Let log records tell of *held* within the block."""

    __slots__ = ("_held", "_token")

    def __init__(self, held: Held) -> None:
        self._held = held

    def __enter__(self) -> None:
        held = self._held
        self._token = _running.set(
            {
                "run_id": held.run.id,
                "workflow": held.run.workflow,
                "step": held.branch.step,
                "attempt": held.branch.attempt,
            }
        )

    def __exit__(self, *_: object) -> None:
        _running.reset(self._token)


class _OfStep:
    """Mixed into the class of a record.

    `logging` refuses an `extra` whose key the record has already, so the fields
    are not there from the start: they are looked up when asked for, and put
    among the others when the record is formatted.
    """

    squidmesh_step: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name != "squidmesh_step" and name in self.__dict__.get("squidmesh_step", ()):
            return self.squidmesh_step[name]
        raise AttributeError(name)

    def getMessage(self) -> str:  # noqa: N802  # logging's name
        for name, value in self.squidmesh_step.items():
            self.__dict__.setdefault(name, value)
        message: str = super().getMessage()  # type: ignore[misc]  # of the record it is mixed into
        return message


class StepLogRecord(_OfStep, logging.LogRecord):
    """A log record made while a step runs."""


@cache
def _record_class(kind: Any) -> type[logging.LogRecord]:
    if kind is logging.LogRecord:
        return StepLogRecord
    return type(f"Step{kind.__name__}", (_OfStep, kind), {})


def install() -> None:
    """Let the records of this process know the step that runs; again is harmless."""
    usual = logging.getLogRecordFactory()
    if getattr(usual, "knows_squidmesh_steps", False):
        return

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        step = _running.get()
        if step is not None:
            kind: Any = type(record)
            record.__class__ = _record_class(kind)
            record.__dict__["squidmesh_step"] = step
        return record

    make.knows_squidmesh_steps = True  # type: ignore[attr-defined]  # how a second call sees it
    logging.setLogRecordFactory(make)

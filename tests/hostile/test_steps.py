"""Whatever a step function raises, returns or does to its process ends in a recorded outcome."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import threading
from collections.abc import Mapping
from datetime import timedelta

import pytest
from flask import current_app, has_app_context
from flask.globals import app_ctx

from flask_squidmesh import (
    Retry,
    RetryStep,
    StepFailed,
    Workflow,
    complete,
    fixed,
    log,
    manual,
    step,
)
from flask_squidmesh.current import state
from flask_squidmesh.engine.errors import LARGEST_DETAILS, LONGEST_MESSAGE, LONGEST_TRACEBACK
from tests.contract.host import attempts, db, notes, single, step_state, write


class Silent(Exception):
    """Has nothing to say."""


class Unpicklable(Exception):
    """Can be neither copied nor sent."""

    def __init__(self) -> None:
        super().__init__("with a lock")
        self.lock = threading.Lock()

    def __reduce__(self):
        raise TypeError("not me")


class Mute(Exception):
    """Raises when it is asked what it says."""

    def __init__(self, second: BaseException) -> None:
        super().__init__()
        self.second = second

    def __str__(self) -> str:
        raise self.second

    __repr__ = __str__


class NotText(Exception):
    """Says something that is not text."""

    def __str__(self):
        return 5  # noqa: PLE0307  # hostile


class Own(BaseException):
    """Derives from the base of everything."""


def error_of(run):
    last = step_state(run, "work").last_error
    assert last is not None
    return last


def cause(error: BaseException, by: BaseException) -> BaseException:
    error.__cause__ = by
    return error


def circle() -> BaseException:
    """Return an error that is its own cause's cause."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def nested(depth: int) -> BaseException:
    """Return groups of groups of errors."""
    error: Exception = ValueError("innermost")
    for level in range(depth):
        error = ExceptionGroup(f"level {level}", [error])
    return error


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


RAISED = {
    "without a message": Silent(),
    "unpicklable": Unpicklable(),
    "text that raises": Mute(ValueError("no")),
    "text that raises a base exception": Mute(Own()),
    "text that exits": Mute(SystemExit(3)),
    "text that is no text": NotText(),
    "base exception": Own("mine"),
    "SystemExit": SystemExit(0),
    "SystemExit with an object": SystemExit({"not": "a code"}),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(1),
    "group": ExceptionGroup("two", [ValueError("one"), OSError("two")]),
    "group of base exceptions": BaseExceptionGroup("two", [Own(), SystemExit()]),
    "deep groups": nested(50),
    "circle of causes": circle(),
    "caused by one that is mute": cause(ValueError("outer"), Mute(Own())),
    "NUL and surrogates": ValueError("a\x00b\ud800c"),
    "enormous text": ValueError("x" * 10_000_000),
    "several arguments": ValueError(object(), {"a": b"\xff"}, None),
    "memory": MemoryError(),
    "details that are no JSON": StepFailed("no", details={"a": {1}}),
    "enormous details": StepFailed("no", details=["x" * 10_000_000]),
    "code that is no text": StepFailed("no", code=object()),  # type: ignore[arg-type]  # hostile
    "message that is no text": StepFailed(object()),  # type: ignore[arg-type]  # hostile
}


@pytest.mark.parametrize("error", RAISED.values(), ids=RAISED.keys())
def test_whatever_is_raised_is_recorded(world, error):
    def work():
        write("lost")
        db.session.flush()
        raise error

    run = world.run(single(work))
    assert run.status == "failed"
    assert attempts(run, "work") == [(1, "failed")]
    last = error_of(run)
    assert set(last) == {"code", "message", "type", "details", "retryable"}
    assert last["type"].endswith(type(error).__qualname__)
    assert 0 < len(last["message"]) <= LONGEST_MESSAGE
    assert len(str(last["details"])) <= LARGEST_DETAILS
    assert notes() == []


DELAYS = {
    "NaN": math.nan,
    "infinite": math.inf,
    "minus infinity": -math.inf,
    "negative": -1,
    "beyond all time": 1e300,
    "no float": 10**400,
    "text": "soon",
    "object": object(),
    "timedelta": timedelta(days=999_999_999),
}


@pytest.mark.parametrize("delay", DELAYS.values(), ids=DELAYS.keys())
def test_delay_that_is_none_is_recorded(world, delay):
    def work():
        raise RetryStep("later", delay=delay)

    run = world.run(single(work, retry=Retry(2, fixed(0.001))))
    assert run.status in {"retrying", "failed"}
    assert attempts(run, "work")[0] == (1, "failed")


def test_recursion_without_end_is_recorded(world):
    run = world.run(single(recurse))
    last = error_of(run)
    assert (run.status, last["type"]) == ("failed", "builtins.RecursionError")


def test_traceback_that_is_kept_is_bounded(world, caplog):
    run = world.run(single(recurse))
    assert run.status == "failed"
    with db.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT traceback FROM squidmesh_attempts").scalar_one()
    assert 0 < len(kept) <= 2 * LONGEST_TRACEBACK


class Reluctant(Mapping[str, int]):
    """Can not be looked at."""

    def __getitem__(self, key):
        raise SystemExit(1)

    __iter__ = __len__ = __getitem__  # type: ignore[assignment]  # hostile


def deep(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


RETURNED = {
    "enormous text": ("x" * 50_000_000, "document_too_large"),
    "enormous list": (list(range(2_000_000)), "document_too_large"),
    "deep nesting": (deep(100_000), "invalid_output"),
    "itself": (endless(), "invalid_output"),
    "NaN": (math.nan, "invalid_output"),
    "infinity": ({"a": [math.inf]}, "invalid_output"),
    "bytes": (b"\xff", "invalid_output"),
    "lock": (threading.Lock(), "invalid_output"),
    "function": (print, "invalid_output"),
    "generator": ((n for n in range(3)), "invalid_output"),
    "exception": (ValueError(), "invalid_output"),
    "class": (dict, "invalid_output"),
    "keys that are no text": ({1: 2}, "invalid_output"),
    "mapping that exits": (Reluctant(), "exception"),
    "integer that cannot be printed": (10**100_000, "invalid_output"),
}


@pytest.mark.parametrize(("value", "code"), RETURNED.values(), ids=RETURNED.keys())
def test_whatever_is_returned_is_recorded(world, value, code):
    def work():
        write("lost")
        return value

    run = world.run(single(work, output="result"))
    last = error_of(run)
    assert (run.status, last["code"]) == ("failed", code)
    assert attempts(run, "work") == [(1, "failed")]
    assert notes() == []


def test_text_that_databases_dislike_survives(world):
    text = "\x00 \ud800 \udfff \U0001f991 \\u0000"
    run = world.run(single(lambda: text, output="result"))
    assert (run.status, run.context) == ("completed", {"result": text})


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**2047, 1.7976931348623157e308, 5e-324])
def test_numbers_of_any_size_survive(world, number):
    run = world.run(single(lambda: number, output="result"))
    assert (run.status, run.context) == ("completed", {"result": number})


@pytest.mark.parametrize("end", ["_exit", "sys.exit", "return", "raise"])
def test_child_that_a_step_forks_is_not_a_second_worker(world, end, tmp_path):
    """However the child ends, it settles nothing and it does not run on as a copy of the worker."""
    born = tmp_path / "child"
    outlived = tmp_path / "outlived"
    worker = os.getpid()

    def work():
        write("of the parent")
        db.session.flush()
        child = os.fork()
        if child == 0:
            born.touch()
            if end == "_exit":
                os._exit(0)
            if end == "sys.exit":
                sys.exit(0)
            if end == "raise":
                raise OSError("in the child")
            return {"child": os.getpid()}
        os.waitpid(child, 0)
        return {"parent": os.getpid()}

    try:
        run = world.run(single(work))
    finally:
        if os.getpid() != worker:
            # The test itself would go on twice.
            outlived.touch()
            os._exit(70)
    assert born.exists()
    assert not outlived.exists()
    assert (run.status, run.context) == ("completed", {"parent": worker})
    assert attempts(run, "work") == [(1, "completed")]
    assert notes() == ["of the parent"]


def test_threads_that_a_step_leaves_behind_do_no_harm(world):
    may_end, has_ended = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    def linger():
        assert may_end.wait(30)
        try:
            write("from nowhere")
        except RuntimeError as error:
            problems.append(error)
        has_ended.set()

    def work():
        threading.Thread(target=linger, daemon=True).start()
        write("of the step")

    run = world.run(single(work))
    may_end.set()
    assert has_ended.wait(30)
    assert "application context" in str(problems[0])
    assert (run.status, notes()) == ("completed", ["of the step"])


def test_step_that_leaves_its_app_context_is_recorded(world, caplog):
    def work():
        write("lost")
        app_ctx._get_current_object().pop()  # type: ignore[attr-defined]  # a proxy
        return {}

    run = world.run(single(work))
    assert attempts(run, "work") == [(1, "failed")]
    assert "context" in error_of(run)["message"]
    assert (run.status, notes()) == ("failed", [])
    assert has_app_context()
    assert current_app == world.app


def test_step_that_leaves_a_context_behind_is_recorded(world):
    def work():
        write("lost")
        current_app.app_context().push()
        return {}

    run = world.run(single(work))
    assert attempts(run, "work") == [(1, "failed")]
    assert "context" in error_of(run)["message"]
    assert (run.status, notes()) == ("failed", [])
    assert current_app == world.app


class Broken(logging.Handler):
    """Can not write anything."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


@pytest.mark.parametrize("fails", [True, False])
def test_log_that_cannot_be_written_does_not_lose_the_outcome(world, fails):
    def work():
        if fails:
            raise ValueError("logged")
        return {"done": True}

    handler = Broken()
    logging.getLogger().addHandler(handler)
    try:
        run = world.run(single(work))
    finally:
        logging.getLogger().removeHandler(handler)
    assert run.status == ("failed" if fails else "completed")
    assert attempts(run, "work") == [(1, run.status)]


def test_log_step_that_cannot_write_has_failed(world):
    class Announce(Workflow):
        go = manual()
        announce = log("loud and clear", level="warning")
        transitions = [announce >> complete]

    handler = Broken()
    logging.getLogger().addHandler(handler)
    try:
        run = world.run(Announce)
    finally:
        logging.getLogger().removeHandler(handler)
    assert (run.status, attempts(run, "announce")) == ("failed", [(1, "failed")])


def test_teardown_that_fails_loses_no_step(world):
    seen: list[str] = []

    class Two(Workflow):
        go = manual()
        first = step(lambda: seen.append("first"))
        second = step(lambda: seen.append("second"))
        transitions = [first >> second >> complete]

    def fail(error: BaseException | None) -> None:
        raise OSError("in a teardown function")

    run_id = world.start(Two)
    world.app.teardown_appcontext_funcs.append(fail)
    try:
        state().engine().deliver(
            run_id, "first", may_continue=lambda: True, after_commit=lambda _news: None
        )
    finally:
        world.app.teardown_appcontext_funcs.remove(fail)
    run = world.see(run_id)
    assert (run.status, seen) == ("completed", ["first", "second"])
    assert attempts(run, "second") == [(1, "completed")]


@pytest.mark.parametrize("ending", [True, False])
def test_exit_of_the_worker_is_no_failure_of_the_step(world, ending):
    """A worker that is told to end at once raises `SystemExit` wherever the step stands."""

    def work():
        write("lost")
        db.session.flush()
        raise SystemExit(-241)

    run_id = world.start(single(work))
    with pytest.raises(SystemExit) if ending else contextlib.nullcontext():
        state().engine().deliver(
            run_id,
            "work",
            may_continue=lambda: False,
            after_commit=lambda _news: None,
            is_ending=lambda: ending,
        )
    run = world.see(run_id)
    expected = ("running", [(1, "running")]) if ending else ("failed", [(1, "failed")])
    assert (run.status, attempts(run, "work")) == expected
    assert notes() == []

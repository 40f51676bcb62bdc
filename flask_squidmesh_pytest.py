"""The pytest plugin: fixtures for the tests of applications, named in an entry point.

A module of its own beside the package, because pytest imports it in every run
of an environment: nothing of Flask or Celery is loaded before a test asks for
one of the fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask_squidmesh.clock import FrozenClock
    from flask_squidmesh.types import Run

__all__ = ["squidmesh_clock", "squidmesh_run"]


@pytest.fixture
def squidmesh_clock(request: pytest.FixtureRequest) -> Iterator[FrozenClock]:
    """Time that stands still for the application: `clock.now`, `clock.advance(seconds=...)`.

    Works in the app context that is active, else in that of the fixture `app`.
    """
    from flask_squidmesh.testing import freeze  # noqa: PLC0415  # not before it is asked for

    with _app_context(request), freeze() as clock:
        yield clock


@pytest.fixture
def squidmesh_run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Run]]:
    """Start a run, do its work, and return it with its history.

    `squidmesh_run(workflow, payload=None, *, trigger=None, advance=False)`;
    with `advance=True` time is moved on to timers and retries. Works in the app
    context that is active, else in that of the fixture `app`.
    """
    from flask_squidmesh import operations  # noqa: PLC0415  # not before it is asked for
    from flask_squidmesh.testing import run_until_idle  # noqa: PLC0415  # likewise

    def run(
        workflow: Any, payload: Any = None, *, trigger: str | None = None, advance: bool = False
    ) -> Run:
        started = operations.start_run(workflow, payload, trigger=trigger)
        run_until_idle(advance=advance)
        return operations.inspect_run(started.id, include_history=True)

    with _app_context(request):
        yield run


def _app_context(request: pytest.FixtureRequest) -> AbstractContextManager[object]:
    from flask import has_app_context  # noqa: PLC0415  # not before it is asked for

    if has_app_context():
        return nullcontext()
    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError:
        pytest.fail(
            f"{request.fixturename} needs an application context: push one before, or define a "
            "fixture `app` that returns the application",
            pytrace=False,
        )
    context: AbstractContextManager[object] = app.app_context()
    return context

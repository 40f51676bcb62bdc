"""What `dispatch` asks of the layers below it, in memory.

Only for the tests of dispatch itself, which are about threads, brokers and
clocks; what the real engine does with a message is tested with the real one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask import Flask

from flask_squidmesh import dispatch
from flask_squidmesh.clock import Clock
from flask_squidmesh.config import Settings
from flask_squidmesh.current import EXTENSION, AppState
from flask_squidmesh.definition.registry import Registry
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.types import TickResult


class EngineInMemory:
    """Notes what it is asked, and answers what it was told to."""

    def __init__(self) -> None:
        self.delivered: list[tuple[str, str]] = []
        self.continued: list[bool] = []
        self.news: dict[str, News] = {}
        self.error: Exception | None = None
        self.executing: Callable[[], None] = lambda: None
        self.ticks: list[tuple[TickResult, News]] = []
        self.rounds = 0
        self.renewals = 0
        self.lost: tuple[Ring, ...] = ()
        self.searches = 0
        self.waiting: list[Ring] = []
        self.may_take_runs: list[bool] = []
        self.error_of_search: Exception | None = None

    def take_waiting(self) -> Ring | None:
        if self.error_of_search is not None:
            raise self.error_of_search
        return self.waiting.pop(0) if self.waiting else None

    def deliver(
        self,
        run_id: str,
        step: str,
        *,
        may_continue: Callable[[], bool],
        after_commit: Callable[[News], None],
        is_ending: Callable[[], bool],
        other_runs: bool,
    ) -> str:
        if self.error is not None:
            raise self.error
        self.delivered.append((run_id, step))
        self.may_take_runs.append(other_runs)
        self.executing()
        self.continued.append(may_continue())
        after_commit(self.news.pop(step, News()))
        return "executed"

    def tick(self, *, limit: int, backlog: int) -> tuple[TickResult, News]:
        self.rounds += 1
        if self.error is not None:
            raise self.error
        return self.ticks.pop(0) if self.ticks else (TickResult(), News())

    def renew(self) -> int:
        self.renewals += 1
        if self.error is not None:
            raise self.error
        return 0

    def overdue(self, *, limit: int) -> tuple[Ring, ...]:
        self.searches += 1
        found, self.lost = self.lost[:limit], ()
        return found


class State(AppState):
    """The state of an application whose engine is the double."""

    def __init__(self, app: Flask, settings: Settings, *, celery: Any, clock: Clock) -> None:
        super().__init__(app, settings, registry=Registry(), celery=celery, clock=clock)
        self.memory = EngineInMemory()
        self.announced: list[News] = []

    def engine(self) -> EngineInMemory:  # type: ignore[override]  # a double has no base
        return self.memory


def make_app(celery: Any = None, *, clock: Clock | None = None, **settings: Any) -> Flask:
    """Return an application that dispatch is installed in, with an engine in memory."""
    app = Flask("tests.dispatch")
    state = State(app, Settings(**settings), celery=celery, clock=clock or Clock())
    app.extensions[EXTENSION] = state
    doorbell = dispatch.install(app)

    def announce(news: News) -> None:
        state.announced.append(news)
        doorbell.ring(news.rings)

    state.announce = announce
    return app


def state_of(app: Flask) -> State:
    state: State = app.extensions[EXTENSION]
    return state


class SteppedClock(Clock):
    """Real wall time, and a monotonic time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds

"""What a message does once it has arrived: look at the row it names.

Nothing in a message is trusted. Wrong, late, doubled and forged ones do
nothing, and none of them raises: a message is a hint, the row is the work.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask

from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch import ticker
from flask_squidmesh.dispatch.contexts import find_app, working_for
from flask_squidmesh.dispatch.doorbell import doorbell_of
from flask_squidmesh.dispatch.shutdown import is_being_ended
from flask_squidmesh.dispatch.trouble import Trouble, described
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.ids import parse_id

logger = logging.getLogger(__name__)

_LONGEST_STEP_NAME = 255

# About the process: there is no application to have it.
_homeless = Trouble(logger)


def run_step(app: Flask, run_id: str, step: str) -> str:
    """Execute the step if it is ready, and what follows it as long as the budget lasts.

    Returns the engine's word for what happened, such as `"executed"`.
    """
    return _Shift(app).run_step(run_id, step)


def work_off(app: Flask, run_id: str, step: str) -> None:
    """Do what `run_step` does, and then the same for runs that wait and that nobody has begun."""
    _Shift(app).work_off(run_id, step)


class _Shift:
    """What one message may take of a worker: the time until it gives way to the next."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._state = state_of(app)
        self._doorbell = doorbell_of(app)
        self._closing = self._doorbell.closing
        budget = self._state.settings.inline_budget
        self._ends = self._state.clock.monotonic() + budget
        # With a budget of 0 a message is about one step and nothing else.
        self._may_take_runs = budget > 0
        # Step and run that it is at; None while it looks for others.
        self._at: tuple[object, object] | None = None

    @property
    def doing(self) -> str:
        """What it is at, in words."""
        if self._at is None:
            return "the search for runs that wait"
        return "step {} of run {}".format(*self._at)

    def work_off(self, run_id: str, step: str) -> None:
        waiting: Ring | None = Ring(run_id, step)
        while waiting is not None:
            run_id, step = waiting.run_id, waiting.step
            self._at = step, run_id
            logger.debug("step %s of run %s: %s", step, run_id, self.run_step(run_id, step))
            self._at = None
            waiting = self.take_waiting()

    def run_step(self, run_id: str, step: str) -> str:
        self._doorbell.traffic += 1
        with working_for(self._app):
            return self._state.engine().deliver(
                run_id,
                step,
                may_continue=self._may_continue,
                after_commit=self._after_commit,
                is_ending=self._is_ending,
                other_runs=self._may_take_runs,
            )

    def take_waiting(self) -> Ring | None:
        """Return a run that waits and may be executed in this shift; one too many is rung for.

        So no fewer workers are at it than were woken.
        """
        if not self._may_take_runs:
            return None
        with working_for(self._app):
            waiting = self._state.engine().take_waiting()
            if waiting is None or self._may_continue():
                return waiting
            self._doorbell.ring([waiting])
            return None

    def _after_commit(self, news: News) -> None:
        # Runs that are executed without a message of their own are a sign of messages, too.
        self._doorbell.traffic += 1
        for notice in news.notices:
            if notice.name == "step_started":
                self._at = notice.values["step"], notice.values["run_id"]
        self._state.announce(news)

    def _may_continue(self) -> bool:
        if self._closing is not None and self._closing.is_set():
            return False
        return self._state.clock.monotonic() < self._ends

    def _is_ending(self) -> bool:
        return (self._closing is not None and self._closing.is_set()) or is_being_ended()


def receive_run_step(celery: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Act on a `squidmesh.run_step` message that arrived through *celery*.

    Afterwards runs that nobody has begun are executed, if there are any, as
    long as the message may take.
    """
    app = _find_app(celery)
    if app is None:
        return
    named = _named(args, kwargs)
    if named is None:
        doorbell_of(app).malformed.arose("ignoring a message that names no run and step")
        return
    shift, failing = _Shift(app), doorbell_of(app).failing
    try:
        shift.work_off(*named)
    except Exception as error:  # noqa: BLE001  # the message is used up; the ticker sends another
        failing.arose("%s was not finished: %s", shift.doing, described(error))
    else:
        failing.passed("messages are acted upon again")


def receive_tick(celery: Any) -> None:
    """Act on a `squidmesh.tick` message: one round of the ticker."""
    app = _find_app(celery)
    if app is None:
        return
    failing = doorbell_of(app).failing
    try:
        ticker.tick(app)
    except Exception as error:  # noqa: BLE001  # the next round repeats it
        failing.arose("a round of the ticker failed: %s", described(error))
    else:
        failing.passed("messages are acted upon again")


def _find_app(celery: Any) -> Flask | None:
    app = find_app(celery)
    if app is None:
        _homeless.arose(
            "a message arrived through %r, which belongs to no Flask application with squidmesh: "
            "create the application where the worker starts, and put its Celery app into "
            'app.extensions["celery"] or pass it as SquidMesh(celery=...)',
            celery,
        )
    return app


def _named(args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the run id and the step a message names, None if it is not one of ours."""
    if len(args) == 2 and not kwargs:
        run_id, step = parse_id(args[0]), args[1]
        is_name = isinstance(step, str) and step.isidentifier() and len(step) <= _LONGEST_STEP_NAME
        if run_id is not None and is_name:
            return run_id, str(step)
    return None

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
from flask_squidmesh.ids import parse_id

logger = logging.getLogger(__name__)

_LONGEST_STEP_NAME = 255

# About the process: there is no application to have it.
_homeless = Trouble(logger)


def run_step(app: Flask, run_id: str, step: str) -> str:
    """Execute the step if it is ready, and what follows it as long as the budget lasts.

    Returns the engine's word for what happened, such as `"executed"`.
    """
    state = state_of(app)
    doorbell = doorbell_of(app)
    doorbell.traffic += 1
    closing = doorbell.closing
    ends = state.clock.monotonic() + state.settings.inline_budget

    def may_continue() -> bool:
        if closing is not None and closing.is_set():
            return False
        return state.clock.monotonic() < ends

    def is_ending() -> bool:
        return (closing is not None and closing.is_set()) or is_being_ended()

    with working_for(app):
        return state.engine().deliver(
            run_id,
            step,
            may_continue=may_continue,
            after_commit=state.announce,
            is_ending=is_ending,
        )


def receive_run_step(celery: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Act on a `squidmesh.run_step` message that arrived through *celery*."""
    app = _find_app(celery)
    if app is None:
        return
    named = _named(args, kwargs)
    if named is None:
        doorbell_of(app).malformed.arose("ignoring a message that names no run and step")
        return
    run_id, step = named
    failing = doorbell_of(app).failing
    try:
        said = run_step(app, run_id, step)
    except Exception as error:  # noqa: BLE001  # the message is used up; the ticker sends another
        failing.arose("step %s of run %s was not finished: %s", step, run_id, described(error))
    else:
        failing.passed("messages are acted upon again")
        logger.debug("step %s of run %s: %s", step, run_id, said)


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

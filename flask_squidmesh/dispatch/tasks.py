"""The Celery tasks: one line each. Sent by name, see `line`; never call `.delay()` on them.

Shared tasks are present in every Celery app of the process. Messages are
acknowledged early: once a step is claimed, a redelivered message is useless,
and until then the ticker replaces a lost one.
"""

from __future__ import annotations

from typing import Any, Final

from celery import shared_task

from flask_squidmesh.dispatch import delivery, reception
from flask_squidmesh.dispatch.line import RUN_STEP


def _run_step(task: Any, *args: object, **kwargs: object) -> None:
    """Look at a step that may be ready, and execute it."""
    delivery.receive_run_step(task.app, args, kwargs)


def _tick(task: Any, *_args: object, **_kwargs: object) -> None:
    """Do one round of the ticker, for hosts that drive it by beat."""
    delivery.receive_tick(task.app)


_OPTIONS: Final = {
    "bind": True,
    "acks_late": False,
    "ignore_result": True,
    "max_retries": 0,
    "Strategy": f"{reception.__name__}:{reception.receive.__name__}",
}

run_step = shared_task(_run_step, name=RUN_STEP, **_OPTIONS)
tick = shared_task(_tick, name="squidmesh.tick", **_OPTIONS)

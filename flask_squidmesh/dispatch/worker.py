"""What happens to a Celery worker that works for an application with squidmesh.

Connected to Celery's signals once, when this module is imported; they do
nothing for Celery apps that belong to no such application. The helper threads
start where the steps are executed: in the children of a prefork pool, in the
worker process itself with every other pool, never in a process that forks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from celery import current_app as current_celery
from celery import signals
from celery.concurrency import get_implementation
from flask import Flask

from flask_squidmesh.config import Settings
from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.contexts import find_app
from flask_squidmesh.dispatch.doorbell import doorbell_of
from flask_squidmesh.dispatch.line import know_queue
from flask_squidmesh.dispatch.shutdown import ShutdownFlag
from flask_squidmesh.dispatch.threads import HelperThreads

# Celery gives a pool child four seconds to start and little time to end.
_STOP_WITHIN = 2.0


class _Process:
    """This process as part of a Celery worker; a process is part of one at most."""

    def __init__(self) -> None:
        self.parent: int | None = None
        self.closing: ShutdownFlag | None = None
        self.helpers: HelperThreads | None = None

    def prepare(self) -> None:
        """Make what the pool's processes will share; called before any fork."""
        self.parent = os.getpid()
        self.closing = ShutdownFlag()

    def work_for(self, app: Flask) -> None:
        """Start the helper threads for *app*, unless they run already."""
        if self.helpers is not None or state_of(app).settings.dispatch == "manual":
            return
        doorbell_of(app).closing = self.closing
        self.helpers = HelperThreads(app)
        self.helpers.start()

    def end(self) -> None:
        helpers, self.helpers = self.helpers, None
        if helpers is not None:
            helpers.stop(timeout=_STOP_WITHIN)


_process = _Process()


def _on_celeryd_init(instance: Any = None, **_: object) -> None:
    # The worker selects its queues next, and refuses unknown ones.
    app = find_app(instance.app)
    if app is not None:
        know_queue(instance.app, state_of(app).settings.queue)


def _on_worker_init(sender: Any = None, **_: object) -> None:
    if find_app(sender.app) is not None:
        _process.prepare()


def _on_worker_ready(sender: Any = None, **_: object) -> None:
    app = find_app(sender.app)
    if app is not None and not isinstance(sender.pool, get_implementation("prefork")):
        _process.work_for(app)


def _on_worker_process_init(**_: object) -> None:
    # The solo pool sends this in the worker process itself, where `worker_ready` follows.
    if _process.parent == os.getpid():
        return
    app = find_app(current_celery._get_current_object())  # noqa: SLF001  # what the proxy stands for
    if app is not None:
        _process.work_for(app)


def _on_worker_shutting_down(**_: object) -> None:
    if _process.closing is not None:
        _process.closing.set()


def _on_end(**_: object) -> None:
    _process.end()


for _signal, _receiver in (
    (signals.celeryd_init, _on_celeryd_init),
    (signals.worker_init, _on_worker_init),
    (signals.worker_ready, _on_worker_ready),
    (signals.worker_process_init, _on_worker_process_init),
    (signals.worker_shutting_down, _on_worker_shutting_down),
    (signals.worker_process_shutdown, _on_end),
    (signals.worker_shutdown, _on_end),
):
    _signal.connect(_receiver, weak=False, dispatch_uid=f"{__name__}.{_receiver.__name__}")


def worker_arguments(
    settings: Settings,
    *,
    concurrency: int | None = None,
    pool: str | None = None,
    loglevel: str = "info",
    extra: Sequence[str] = (),
) -> list[str]:
    """Return the arguments of a Celery worker that serves squidmesh's queue.

    *extra* comes last, and so overrides: `-Q emails,squidmesh` serves both.
    """
    arguments = ["worker", "--queues", settings.queue, "--loglevel", loglevel]
    # A step may be long: whoever is free takes the next message, nobody hoards.
    arguments += ["--prefetch-multiplier", "1", "-O", "fair"]
    if concurrency is not None:
        arguments += ["--concurrency", str(concurrency)]
    if pool is not None:
        arguments += ["--pool", pool]
    return [*arguments, *extra]


def run_worker(app: Flask, arguments: Sequence[str]) -> int:
    """Run a worker of *app*'s Celery app in this process until it ends; return its exit code."""
    celery = state_of(app).celery()
    if celery.conf.broker_connection_retry_on_startup is None:
        # Work waits for the broker, so does a worker; unset, Celery warns about its own default.
        celery.conf.broker_connection_retry_on_startup = True
    return int(celery.worker_main(list(arguments)) or 0)

"""A worker inside this process, for development and demonstrations.

It consumes from a broker in memory, with a Celery app and a queue of its own:
the host's Celery configuration is neither needed nor touched, and several
embedded workers do not hear each other's messages. While it runs, the
application's rings go to it.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from celery import Celery
from celery.worker import WorkController
from flask import Flask

from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.contexts import bind
from flask_squidmesh.dispatch.doorbell import doorbell_of
from flask_squidmesh.dispatch.shutdown import ShutdownFlag
from flask_squidmesh.dispatch.threads import HelperThreads
from flask_squidmesh.dispatch.transport import Transport
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.ids import new_id

logger = logging.getLogger(__name__)

_BROKER: Final = "memory://localhost/"
# Unset, every message waits for up to a second.
_POLLING_INTERVAL: Final = 0.01
_STOP_SEEN_IN: Final = 0.1


class EmbeddedWorker:
    """Executes the steps of *app* in threads of this process, between `start` and `stop`.

    Also a context manager. *pool* is `"threads"` or `"solo"`.
    """

    def __init__(self, app: Flask, *, concurrency: int = 2, pool: str = "threads") -> None:
        if pool not in ("threads", "solo"):
            raise ValueError(
                "an embedded worker has the pool 'threads' or 'solo', it does not fork"
            )
        self._app = app
        self._concurrency = concurrency
        self._pool = pool
        self._running: ExitStack | None = None

    def start(self, *, timeout: float = 10.0) -> None:
        """Start, and return once messages are consumed; TimeoutError after *timeout* seconds."""
        state = state_of(self._app)
        if state.settings.dispatch == "manual":
            raise ConfigError(
                invalid={"SQUIDMESH_DISPATCH": "manual"},
                reasons={"SQUIDMESH_DISPATCH": "a worker needs messages; set it to 'celery'"},
            )
        if self._running is not None:
            raise RuntimeError("this embedded worker runs already; stop it first")
        queue = f"{state.settings.queue}-{new_id()}"
        celery = _celery_in_memory(queue)
        bind(celery, self._app)
        doorbell = doorbell_of(self._app)
        with ExitStack() as undo:
            undo.callback(_discard, celery, queue)
            transport = Transport(celery, queue, clock=state.clock)
            undo.callback(transport.close)
            undo.enter_context(doorbell.through(transport))
            helpers = HelperThreads(self._app)
            undo.callback(helpers.stop, timeout=timeout)
            controller = _Controller(celery, queue, self._concurrency, self._pool)
            undo.callback(controller.stop, timeout=timeout)
            if state.find_celery() is None:
                # Development needs no Celery app; starting a run asks for one.
                self._app.extensions["celery"] = celery
                undo.callback(self._app.extensions.pop, "celery", None)
            doorbell.closing = ShutdownFlag()
            undo.callback(doorbell.closing.set)
            doorbell.is_shared = False
            undo.callback(setattr, doorbell, "is_shared", True)
            helpers.start()
            controller.start(timeout=timeout)
            self._running = undo.pop_all()

    def stop(self) -> None:
        """Finish the steps under way, hand the rest over to the ticker, and end."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Controller:
    """Celery's worker without the program around it, in a daemon thread."""

    def __init__(self, celery: Any, queue: str, concurrency: int, pool: str) -> None:
        self._ready = threading.Event()
        self._worker: Any = WorkController(
            app=celery,
            queues=[queue],
            concurrency=concurrency,
            pool=pool,
            hostname=f"{queue}@embedded",
            ready_callback=self._on_ready,
            without_gossip=True,
            without_heartbeat=True,
            without_mingle=True,
        )
        # Celery looks tasks up in the thread's current app, or else in the process's default
        # one, which is the host's. Nothing but these threads gets to see this app.
        if pool == "threads":
            self._worker.pool.executor = ThreadPoolExecutor(
                concurrency, thread_name_prefix="squidmesh-step", initializer=celery.set_current
            )

        def run() -> None:
            celery.set_current()
            self._worker.start()

        self._thread = threading.Thread(target=run, name="squidmesh-worker", daemon=True)

    def start(self, *, timeout: float) -> None:
        self._thread.start()
        if not self._ready.wait(timeout):
            raise TimeoutError(f"the embedded worker did not start within {timeout} seconds")

    def _on_ready(self, consumer: Any) -> None:
        # Celery looks whether it should stop every two seconds.
        drain = consumer.connection.drain_events
        consumer.connection.drain_events = lambda timeout: drain(
            timeout=min(timeout, _STOP_SEEN_IN)
        )
        self._ready.set()

    def stop(self, *, timeout: float) -> None:
        # Stopping waits for the steps under way, however long they take.
        ending = threading.Thread(
            target=self._worker.stop, name="squidmesh-worker-stop", daemon=True
        )
        ending.start()
        ending.join(timeout)
        self._thread.join(timeout)
        if ending.is_alive() or self._thread.is_alive():
            logger.warning("the embedded worker still executes a step; not waiting any longer")


def _celery_in_memory(queue: str) -> Any:
    celery = Celery("squidmesh", set_as_current=False, fixups=[])
    celery.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"polling_interval": _POLLING_INTERVAL},
        broker_url=_BROKER,
        result_backend="disabled://",
        task_default_queue=queue,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
    )
    # CELERY_BROKER_URL in the environment would win over the configuration.
    for name in ("connection_for_read", "connection_for_write"):
        setattr(celery, name, _with_url(getattr(celery, name)))
    return celery


def _discard(celery: Any, queue: str) -> None:
    """Leave nothing in the memory that all brokers of this kind share."""
    with celery.connection_for_write() as connection:
        connection.default_channel.queue_delete(queue)
    celery.close()


def _with_url(connect: Any) -> Any:
    def connection(url: str | None = None, **options: Any) -> Any:
        return connect(url or _BROKER, **options)

    return connection

"""The doorbell of one application: what the engine wants rung goes to Celery.

It decides what is sent now, what is remembered until it is due, and what is
left to the ticker. Nothing here raises: the caller has committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from flask import Flask

from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.shutdown import ShutdownFlag
from flask_squidmesh.dispatch.transport import Transport
from flask_squidmesh.dispatch.trouble import Trouble
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.exceptions import ConfigError

logger = logging.getLogger(__name__)

EXTENSION_KEY: Final = "squidmesh_doorbell"


class Doorbell:
    """Rings for *app*; made once per application by `dispatch.install`."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        #: Remembers rings until they are due, as long as a ticker of this process keeps time.
        self.remember: Callable[[Sequence[Ring]], None] | None = None
        #: Set while the worker of this process is shutting down.
        self.closing: ShutdownFlag | None = None
        #: Whether what other processes send arrives here; not over a broker in memory.
        self.is_shared = True
        #: Grows with every message this process wants sent, or has received.
        self.traffic = 0
        self.start_over()

    def start_over(self) -> None:
        """Begin anew in a forked process: locks, threads and connections are the parent's."""
        self._lock = threading.Lock()
        #: What is wrong with this application's messages, said once.
        self.unconfigured, self.malformed, self.failing = (Trouble(logger) for _ in range(3))
        self.remember = None
        transport = getattr(self, "_transport", None)
        if transport is not None:
            transport.start_over()
        self._transport: Transport | None = transport

    def ring(self, rings: Sequence[Ring]) -> frozenset[str]:
        """Send what wants a worker now, remember what soon will. Takes 2 seconds at most.

        Returns the ids of the runs for which a message was sent. Under
        `"manual"` that is left to the calling code, and counts as done.
        """
        state = state_of(self._app)
        if not rings:
            return frozenset()
        moment = state.clock.now
        now = [ring for ring in rings if ring.at is None or ring.at <= moment]
        if state.settings.dispatch == "manual":
            return frozenset(ring.run_id for ring in now)
        self.traffic += 1
        sent = 0
        if now and (transport := self._line()) is not None:
            sent = transport.publish(now)
        if self.remember is not None and len(now) < len(rings):
            self.remember([ring for ring in rings if ring.at is not None and ring.at > moment])
        return frozenset(ring.run_id for ring in now[:sent])

    def depth(self) -> int | None:
        """Return how many messages wait in the queue; None when that cannot be known."""
        if state_of(self._app).settings.dispatch == "manual":
            return None
        transport = self._line()
        return None if transport is None else transport.depth()

    @contextmanager
    def through(self, transport: Transport) -> Iterator[None]:
        """Within the block, ring through *transport* instead of the host's Celery app."""
        usual, self._transport = self._transport, transport
        try:
            yield
        finally:
            self._transport = usual

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Within the block, every publication fails as with an unreachable broker."""
        transport = self._line()
        if transport is None:
            yield
            return
        with transport.unreachable():
            yield

    def close(self) -> None:
        """Close the connection to the broker; ringing again opens it again."""
        if self._transport is not None:
            self._transport.close()

    def _line(self) -> Transport | None:
        with self._lock:
            if self._transport is None:
                state = state_of(self._app)
                try:
                    celery = state.celery()
                except ConfigError as error:
                    self.unconfigured.arose("no message is sent, work waits: %s", error)
                    return None
                self._transport = Transport(celery, state.settings.queue, clock=state.clock)
            return self._transport


def doorbell_of(app: Flask) -> Doorbell:
    """Return the doorbell of *app*; raises KeyError when it has none."""
    doorbell: Doorbell = app.extensions[EXTENSION_KEY]
    return doorbell

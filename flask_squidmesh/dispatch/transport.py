"""Sending: bounded in time whatever the broker does, and never raising.

Connections of message libraries block where they like: while resolving a name,
trying one failover URL after the other, or reading from a socket without a
timeout. So one daemon thread per process owns the only connection, and callers
wait for it until a deadline. That bounds every transport, makes sending
thread-safe, and costs a process one connection. After a failure a circuit
breaker skips everything for some seconds: the message is only a hint, and the
row's `due_at` brings the ticker.

After a fork the child starts over with a thread and a connection of its own.
"""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from flask_squidmesh.clock import Clock
from flask_squidmesh.dispatch.breaker import Breaker
from flask_squidmesh.dispatch.enough import Enough
from flask_squidmesh.dispatch.line import Line
from flask_squidmesh.dispatch.trouble import Trouble
from flask_squidmesh.engine.news import Ring

logger = logging.getLogger(__name__)

PATIENCE: Final = 1.5
COOLDOWN: Final = 3.0

#: So many messages go out at once; a silent broker is noticed after any of such groups.
TOGETHER: Final = 50

_T = TypeVar("_T")
_Job = tuple["Future[Any]", contextvars.Context, Callable[[Line], Any]]

# Closing an inherited connection would end the parent's, and so may its finalizer: kept for good.
_inherited: list[object] = []


class Transport:
    """Rings through one Celery app and one queue.

    A call takes at most about *patience* seconds, for any number of rings.
    """

    def __init__(
        self,
        celery: Any,
        queue_name: str,
        *,
        clock: Clock,
        patience: float = PATIENCE,
        cooldown: float = COOLDOWN,
    ) -> None:
        self._new_line: Callable[[], Line] = lambda: Line(celery, queue_name)
        self._clock = clock
        self._patience = patience
        self._cooldown = cooldown
        self._thread: _LineThread | None = None
        self._given_up: Future[Any] | None = None
        self._reset()

    def publish(self, rings: Sequence[Ring]) -> int:
        """Send one message per ring; return for how many that is done.

        Done is also what needs no message, see `Enough`. What was not sent is
        left to the ticker. Never raises.
        """
        deadline = self._clock.monotonic() + self._patience
        # So many that they fill the time are no failure: there is time left to say so.
        last_call = deadline - self._patience / 4

        def send(line: Line) -> int:
            for sent in range(0, len(rings), TOGETHER):
                if self._clock.monotonic() >= last_call:
                    return sent
                needed = self._enough.needed(rings[sent : sent + TOGETHER])
                if needed:
                    line.send(needed)
                    self._enough.note(needed, line.depth)
            return len(rings)

        sent = (self._ask(send, deadline) or 0) if rings else 0
        if 0 < sent < len(rings):
            logger.info("%d of %d messages are left to the ticker", len(rings) - sent, len(rings))
        return sent

    def depth(self) -> int | None:
        """Return how many messages wait in the queue, 0 if it does not exist, None if unknown."""
        return self._ask(Line.depth, self._clock.monotonic() + self._patience)

    def ask(self, job: Callable[[Line], _T], *, patience: float) -> _T:
        """Return what *job* returns within *patience* seconds; raises what it raises.

        For looking at a broker. Whatever comes out of it is not held against
        the broker when something is to be sent.
        """
        answer: Future[_T] = Future()
        self._running_thread().jobs.put((answer, contextvars.copy_context(), job))
        return answer.result(timeout=patience)

    def close(self) -> None:
        """Close the connection and end the thread; a later call starts them again."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.jobs.put(None)
            thread.join(self._patience)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Within the block, everything fails as with a broker that refuses connections."""
        real = self._new_line
        self.close()
        self._breaker.close()
        self._new_line = _NoLine
        try:
            yield
        finally:
            self._new_line = real
            self.close()
            self._breaker.close()

    def start_over(self) -> None:
        """Forget thread, connection and locks: they are those of the process that forked."""
        _inherited.append(self._thread)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._thread = None
        self._given_up = None
        self._breaker = Breaker(self._clock, cooldown=self._cooldown)
        self._trouble = Trouble(logger)
        self._enough = Enough(self._clock)

    def _ask(self, job: Callable[[Line], _T], deadline: float) -> _T | None:
        """Have the thread do *job* until *deadline*; None means that it did not succeed."""
        if not self._breaker.admits():
            return None
        stuck = self._given_up
        if stuck is not None and not stuck.done():
            self._breaker.trip()
            return None
        answer: Future[_T] = Future()
        try:
            self._running_thread().jobs.put((answer, contextvars.copy_context(), job))
            result = answer.result(timeout=max(0.0, deadline - self._clock.monotonic()))
        except Exception as error:  # noqa: BLE001  # whatever a transport raises, the caller has committed
            self._fail(error, answer)
            return None
        if self._breaker.is_open:
            self._breaker.close()
        self._trouble.passed("the broker is back; messages are sent again")
        return result

    def _fail(self, error: Exception, answer: Future[Any]) -> None:
        if isinstance(error, TimeoutError) and not answer.done() and not answer.cancel():
            self._given_up = answer
        self._breaker.trip()
        self._trouble.arose(
            "no message could be sent to the broker (%s: %s); work waits in the database and goes "
            "on when the broker answers: check broker_url and whether the broker runs",
            type(error).__name__,
            str(error) or "no answer in time",
        )

    def _running_thread(self) -> _LineThread:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = _LineThread(self._new_line())
                # The thread must not keep a transport alive that nobody else has.
                weakref.finalize(self, self._thread.jobs.put, None).atexit = False
                self._thread.start()
            return self._thread


class _LineThread(threading.Thread):
    """Does jobs with its line, one after the other, until it gets None."""

    def __init__(self, line: Line) -> None:
        super().__init__(name="squidmesh-transport", daemon=True)
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._line = line

    def run(self) -> None:
        while (todo := self.jobs.get()) is not None:
            answer, context, job = todo
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(context.run(job, self._line))
                except BaseException as error:  # noqa: BLE001  # it is the caller's to judge
                    answer.set_exception(error)
            # Waiting for the next job must not keep this one's data alive.
            del todo, answer, context, job
        self._line.close()


class _NoLine(Line):
    """A line to a broker that is not there."""

    def __init__(self) -> None:
        super().__init__(celery=None, queue="")

    def _open(self) -> None:
        raise ConnectionRefusedError("the broker is unreachable")

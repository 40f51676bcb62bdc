"""A circuit breaker: after a failure, do not try again for a while."""

from __future__ import annotations

import threading

from flask_squidmesh.clock import Clock


class Breaker:
    """Closed it admits everybody; open it admits one caller per *cooldown* seconds.

    That one caller finds out whether the trouble is over, and reports it with
    `close` or `trip`. Safe to use from several threads.
    """

    def __init__(self, clock: Clock, *, cooldown: float) -> None:
        self._clock = clock
        self._cooldown = cooldown
        self._lock = threading.Lock()
        self._retry_at: float | None = None

    @property
    def is_open(self) -> bool:
        return self._retry_at is not None

    def admits(self) -> bool:
        """Return whether the caller may try now."""
        with self._lock:
            if self._retry_at is None:
                return True
            now = self._clock.monotonic()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._cooldown
            return True

    def trip(self) -> None:
        """Open, or stay open, for another cooldown from now."""
        with self._lock:
            self._retry_at = self._clock.monotonic() + self._cooldown

    def close(self) -> None:
        """Admit everybody again."""
        with self._lock:
            self._retry_at = None

"""Rings to be made within the next minute, remembered by the process that learnt of them.

Only a help for punctuality: they are lost with the process, and the ticker of
any worker finds the same rows when they are due.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from flask_squidmesh.clock import Clock
from flask_squidmesh.engine.news import Ring

HORIZON: Final = timedelta(seconds=60)
CAPACITY: Final = 10_000

# A message that comes too early does nothing, and then the step waits for the ticker.
_NEVER_EARLY: Final = 0.001


class Reminders:
    """A bounded heap of rings by the time they are due. Safe to use from several threads."""

    def __init__(self, clock: Clock, *, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Ring]] = []

    def keep(self, rings: Iterable[Ring]) -> bool:
        """Remember those of *rings* that fit; return whether one of them is now the next due.

        Forgotten are rings without a time, beyond the horizon, and beyond the capacity.
        """
        now, monotonic = self._clock.now, self._clock.monotonic()
        earlier = False
        with self._lock:
            for ring in rings:
                if ring.at is None or ring.at - now > HORIZON:
                    continue
                if len(self._heap) >= self._capacity:
                    break
                due = monotonic + (ring.at - now).total_seconds() + _NEVER_EARLY
                earlier = earlier or not self._heap or due < self._heap[0][0]
                heapq.heappush(self._heap, (due, next(self._order), ring))
        return earlier

    def take_due(self) -> list[Ring]:
        """Remove and return the rings that are due, in their order."""
        now = self._clock.monotonic()
        due = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
        return due

    def next_in(self) -> float | None:
        """Return the seconds until the next ring is due, None when there is none."""
        with self._lock:
            if not self._heap:
                return None
            return max(0.0, self._heap[0][0] - self._clock.monotonic())

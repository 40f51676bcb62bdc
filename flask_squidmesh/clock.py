"""The one source of time.

In production, leases, timers and retries are judged by the database's clock,
since hosts disagree: statements that open a transaction bring its time along,
and `Clock.judge` passes it on. A test replaces the clock of an application by
a `FrozenClock`, and everything follows that instead. Times are aware, in UTC.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """Real time.

    What an application follows outside of tests. For leases, timers and retries
    the database's time counts, where the database has a clock.
    """

    @property
    def now(self) -> datetime:
        """This host's time."""
        return datetime.now(UTC)

    @property
    def frozen_at(self) -> datetime | None:
        """The time at which this clock stands, None while it runs."""
        return None

    def judge(self, database_time: datetime | None) -> datetime:
        """Return the time that counts, given what the database's clock says.

        None means that the database has no clock of its own (SQLite): the
        host's clock counts.
        """
        return database_time if database_time is not None else self.now

    def monotonic(self) -> float:
        """Return seconds that never go back, for measuring durations and budgets."""
        return time.monotonic()


class FrozenClock(Clock):
    """Time that stands still until it is advanced; made by `flask_squidmesh.testing.freeze`.

    Args:
        at: The time at which it stands; aware.
    """

    def __init__(self, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError("a frozen clock needs an aware datetime, such as datetime.now(UTC)")
        self._now = at.astimezone(UTC)

    @property
    def now(self) -> datetime:
        """The time at which this clock stands."""
        return self._now

    @property
    def frozen_at(self) -> datetime | None:
        return self._now

    def judge(self, database_time: datetime | None) -> datetime:
        return self._now

    def advance(self, *, seconds: float) -> datetime:
        """Move time on by *seconds* (>= 0) and return the new time."""
        if seconds < 0:
            raise ValueError("time does not go back; advance by zero or more seconds")
        self._now += timedelta(seconds=seconds)
        return self._now


def wait_until(condition: Callable[[], bool], *, timeout: float, interval: float = 0.02) -> bool:
    """Wait until *condition* holds, at most *timeout* seconds; return whether it did."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause.wait(interval)
    return True


def pause(seconds: float) -> None:
    """Let *seconds* of real time pass; only for backing off, never for waiting on an event."""
    time.sleep(seconds)

"""Finds what nobody looked at in time: every worker carries a ticker.

Each round is bounded and harmless to repeat, so any number of tickers may run.
Besides, the ticker's thread makes the rings that this process remembers
(`reminders`) when they are due, between its rounds.

Before a round it asks the broker for the queue's depth: what stands in it need
not be sent again. Rows whose message was sent a while ago, with nothing in the
queue, mean that the broker lost its
messages, or that it was away when they were sent: they are rung again at once
instead of after their grace time. The database is asked for such rows only
around traffic, which includes the start and the return of the broker: an idle
process has lost no message. Only where other processes can not be heard (a
broker in memory) every round asks, so that what they start is found soon.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from random import Random
from typing import Final

from flask import Flask

from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.contexts import working_for
from flask_squidmesh.dispatch.doorbell import Doorbell, doorbell_of
from flask_squidmesh.dispatch.reminders import Reminders
from flask_squidmesh.dispatch.trouble import Trouble, described
from flask_squidmesh.engine.news import News
from flask_squidmesh.types import TickResult

logger = logging.getLogger(__name__)

#: Rows of one kind that one round takes; what it finds is sent well within a second.
LIMIT: Final = 200

_LONGEST_BACKOFF: Final = 5.0

# A message counts as lost after a second; traffic this old can have left no other.
_TRAFFIC_MATTERS_FOR: Final = 3.0


def tick(app: Flask, *, limit: int = LIMIT, backlog: int | None = None) -> tuple[TickResult, bool]:
    """Do one round and tell its news; return it, and whether more may be waiting.

    The broker is asked for *backlog*, the length of the queue, if it is not given.
    """
    with working_for(app):
        state = state_of(app)
        if backlog is None:
            backlog = doorbell_of(app).depth() or 0
        result, news = state.engine().tick(limit=limit, backlog=backlog)
        if news:
            state.announce(news)
        return result, max(result.due, result.expired, result.started) >= limit


class Ticker:
    """One application's ticker in this process; `turn` is called by its thread.

    With *ticking* False it makes no rounds and only rings on time.
    """

    def __init__(
        self,
        app: Flask,
        doorbell: Doorbell,
        reminders: Reminders,
        *,
        ticking: bool = True,
        random: Random | None = None,
    ) -> None:
        state = state_of(app)
        self._app = app
        self._doorbell = doorbell
        self._reminders = reminders
        self._ticking = ticking
        self._clock = state.clock
        self._interval = state.settings.tick_interval
        # Only spreads the rounds of many workers; nothing depends on the numbers.
        self._random = random or Random()  # noqa: S311
        self._failures = 0
        self._trouble = Trouble(logger)
        self._broker_was_there = False
        self._traffic = doorbell.traffic
        self._last_traffic = self._clock.monotonic()
        # Workers that start together begin apart.
        self._next_round = self._clock.monotonic() + self._random.uniform(0, self._interval / 2)

    def turn(self) -> float:
        """Ring what is due and make a round if it is time; return the seconds to the next turn."""
        self._doorbell.ring([replace(ring, at=None) for ring in self._reminders.take_due()])
        if self._ticking and self._clock.monotonic() >= self._next_round:
            self._next_round = self._clock.monotonic() + self._round()
        pauses = [self._reminders.next_in()]
        if self._ticking:
            pauses.append(self._next_round - self._clock.monotonic())
        return max(0.0, min((pause for pause in pauses if pause is not None), default=60.0))

    def _round(self) -> float:
        """Make one round; return the seconds until the next one."""
        try:
            depth = self._doorbell.depth()
            _, is_full = tick(self._app, backlog=depth or 0)
            if not is_full:
                self._ring_for_lost_messages(depth)
        except Exception as error:  # noqa: BLE001  # a database has many ways to be away
            self._trouble.arose("the ticker could not look, trying on: %s", described(error))
            self._failures = min(self._failures + 1, 10)
            backoff = min(self._interval * 2.0**self._failures, _LONGEST_BACKOFF)
            return max(backoff, self._interval) * self._random.uniform(0.8, 1)
        self._failures = 0
        self._trouble.passed("the ticker works again")
        # Neither longer, since others rely on it, nor shorter: an idle process asks the database
        # once per interval. What keeps many tickers apart is when each began.
        return 0.0 if is_full else self._interval

    def _ring_for_lost_messages(self, depth: int | None) -> None:
        is_there, was_there = depth is not None, self._broker_was_there
        self._broker_was_there = is_there
        now, traffic = self._clock.monotonic(), self._doorbell.traffic
        if traffic != self._traffic or (is_there and not was_there):
            self._traffic, self._last_traffic = traffic, now
        is_quiet = now - self._last_traffic > max(_TRAFFIC_MATTERS_FOR, 3 * self._interval)
        # A queue with messages in it has lost none; the workers are just busy.
        if depth != 0 or (is_quiet and self._doorbell.is_shared):
            return
        with working_for(self._app):
            state = state_of(self._app)
            rings = state.engine().overdue(limit=LIMIT)
            if rings:
                logger.info("the queue is empty and %d steps wait: ringing again", len(rings))
                state.announce(News(rings=rings))

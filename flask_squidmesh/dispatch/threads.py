"""The helper threads: ticker and heartbeat where steps are executed, or a ticker alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from flask import Flask

from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.doorbell import doorbell_of
from flask_squidmesh.dispatch.heartbeat import Heartbeat
from flask_squidmesh.dispatch.reminders import Reminders
from flask_squidmesh.dispatch.rounds import Rounds
from flask_squidmesh.dispatch.ticker import Ticker
from flask_squidmesh.engine.news import Ring

_STOP_WITHIN: Final = 10.0


class TickerThread:
    """The ticker of *app* in this process; while it runs, rings are remembered until due.

    With *ticking* False it makes no rounds.
    """

    def __init__(self, app: Flask, *, ticking: bool) -> None:
        self._doorbell = doorbell_of(app)
        self._reminders = Reminders(state_of(app).clock)
        ticker = Ticker(app, self._doorbell, self._reminders, ticking=ticking)
        self._rounds = Rounds("squidmesh-ticker", ticker.turn)

    def start(self) -> None:
        self._doorbell.remember = self._remember
        self._rounds.start()

    def stop(self, *, timeout: float) -> bool:
        self._doorbell.remember = None
        return self._rounds.stop(timeout=timeout)

    def _remember(self, rings: Sequence[Ring]) -> None:
        if self._reminders.keep(rings):
            self._rounds.wake()


class HelperThreads:
    """Ticker and heartbeat of *app* in this process. Never in one that forks."""

    def __init__(self, app: Flask) -> None:
        self._ticker = TickerThread(app, ticking=state_of(app).settings.ticker)
        self._heartbeat = Rounds("squidmesh-heartbeat", Heartbeat(app).turn)

    def start(self) -> None:
        """Start the threads, without waiting for a database or a broker."""
        self._ticker.start()
        self._heartbeat.start()

    def stop(self, *, timeout: float) -> bool:
        """End the threads; return whether both ended within *timeout* seconds each.

        The heartbeat goes last and, like its caller, after the steps: as long
        as something executes, its lease is kept.
        """
        stopped = self._ticker.stop(timeout=timeout)
        return self._heartbeat.stop(timeout=timeout) and stopped


@contextmanager
def ticking(app: Flask) -> Iterator[None]:
    """Keep a ticker for *app* in this process while the block runs, whatever the settings say."""
    ticker = TickerThread(app, ticking=True)
    ticker.start()
    try:
        yield
    finally:
        ticker.stop(timeout=_STOP_WITHIN)

"""The two helper threads of a process that executes steps: ticker and heartbeat."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask

from flask_squidmesh import current
from flask_squidmesh.dispatch.doorbell import doorbell_of
from flask_squidmesh.dispatch.heartbeat import Heartbeat
from flask_squidmesh.dispatch.reminders import Reminders
from flask_squidmesh.dispatch.rounds import Rounds
from flask_squidmesh.dispatch.ticker import Ticker
from flask_squidmesh.engine.news import Ring


class Helpers:
    """Ticker and heartbeat of *app* in this process. Never in one that forks."""

    def __init__(self, app: Flask) -> None:
        state = current.state_of(app)
        self._doorbell = doorbell_of(app)
        self._reminders = Reminders(state.clock)
        ticker = Ticker(app, self._doorbell, self._reminders, ticking=state.settings.ticker)
        self._ticker = Rounds("squidmesh-ticker", ticker.turn)
        self._heartbeat = Rounds("squidmesh-heartbeat", Heartbeat(app).turn)

    def start(self) -> None:
        """Start the threads, without waiting for a database or a broker."""
        self._doorbell.remember = self._remember
        self._ticker.start()
        self._heartbeat.start()

    def stop(self, *, timeout: float) -> bool:
        """End the threads; return whether both ended within *timeout* seconds each.

        The heartbeat goes last and, like its caller, after the steps: as long
        as something executes, its lease is kept.
        """
        self._doorbell.remember = None
        stopped = self._ticker.stop(timeout=timeout)
        return self._heartbeat.stop(timeout=timeout) and stopped

    def _remember(self, rings: Sequence[Ring]) -> None:
        if self._reminders.keep(rings):
            self._ticker.wake()

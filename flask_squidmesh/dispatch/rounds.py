"""A daemon thread that does something again and again until it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from flask_squidmesh.dispatch.trouble import described

logger = logging.getLogger(__name__)


class Rounds:
    """Calls *turn* in a thread of its own; its result says in how many seconds again.

    A turn handles what it expects to go wrong. What it does not expect is
    logged, and the rounds go on after *after_a_bug* seconds: recovery must not
    end because of one bug.
    """

    def __init__(self, name: str, turn: Callable[[], float], *, after_a_bug: float = 5.0) -> None:
        self._name = name
        self._turn = turn
        self._after_a_bug = after_a_bug
        self._wanted = threading.Condition()
        self._hurry = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; it does its first turn at once."""
        with self._wanted:
            if self._thread is not None:
                raise RuntimeError(f"{self._name} was started before; stop it first")
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Have the next turn begin now; never waits for it."""
        with self._wanted:
            self._hurry = True
            self._wanted.notify_all()

    def stop(self, *, timeout: float) -> bool:
        """End after the turn under way; return whether it ended within *timeout* seconds."""
        with self._wanted:
            self._stopping = True
            self._wanted.notify_all()
            thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                pause = self._turn()
            except Exception as error:  # noqa: BLE001  # the thread must survive every turn
                logger.error("a turn of %s failed: %s", self._name, described(error))  # noqa: TRY400  # the text may hold a payload
                pause = self._after_a_bug
            with self._wanted:
                self._wanted.wait_for(lambda: self._hurry or self._stopping, timeout=pause)
                self._hurry = False

"""Runs that nobody has begun, which a worker goes on with when a run of its own is over.

While work piles up, a message for every run costs more than it tells: the
worker that takes one can look for the others itself. So when it finds that what
it was rung for has waited, or was done by somebody else, it reads which runs
have waited longest, and executes them one after the other, as if a message had
come for each. Whoever starts runs then leaves messages out (`dispatch.enough`).

What was read is a hint like a message: the claim decides. Several workers read
the same; each begins at another place, and looks anew when it meets one that is
ahead of it.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from datetime import timedelta
from typing import Final

from flask_squidmesh.engine.beginnings import Beginnings
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.store import transaction, unbegun
from flask_squidmesh.store.branches import Branch

LATE: Final = timedelta(seconds=0.05)
"""How long a step must have been ready when it was claimed, for others to be waiting, too."""

AT_ONCE: Final = 100
"""How many runs are read together."""

_DONE_BY_OTHERS: Final = ("already_running", "finished")
_IN_VAIN: Final = 3
"""After so many hints in a row that came to nothing, somebody else works off the same."""


class Backlog:
    """What this process knows of runs that nobody has begun. Safe to use from several threads."""

    def __init__(self, database: transaction.Engine, beginnings: Beginnings) -> None:
        self._database = database
        self._beginnings = beginnings
        self._lock = threading.Lock()
        self._hints: deque[Ring] = deque()
        self._in_vain = 0
        self._is_suspected = False

    def heed(self, word: str, claimed: Branch | None) -> None:
        """Take note of what a message or a hint has led to: *word*, and the claim if there is one.

        Somebody who was faster, and a step that has waited, are signs of more.
        """
        if claimed is None:
            is_sign = word in _DONE_BY_OTHERS
        else:
            is_sign = (claimed.started_at or claimed.ready_at) - claimed.ready_at > LATE
        with self._lock:
            self._is_suspected = self._is_suspected or is_sign
            self._in_vain = self._in_vain + 1 if claimed is None else 0
            if self._in_vain >= _IN_VAIN:
                self._hints.clear()

    def take(self) -> Ring | None:
        """Return a run to go on with, None when there is none."""
        with self._lock:
            if not self._hints and self._is_suspected:
                self._is_suspected, self._in_vain = False, 0
                self._hints.extend(self._look())
            return self._hints.popleft() if self._hints else None

    def take_known(self) -> Ring | None:
        """Return a run to go on with if one is known without looking, None otherwise."""
        with self._lock:
            return self._hints.popleft() if self._hints else None

    def give_back(self, ring: Ring) -> None:
        """Keep what was taken and not gone on with, as the next."""
        with self._lock:
            self._hints.appendleft(ring)

    def _look(self) -> list[Ring]:
        workflows, steps = self._beginnings.named()
        if not workflows:
            return []
        found = transaction.run(
            self._database,
            lambda connection: unbegun.list_unbegun(
                connection, workflows=workflows, steps=steps, limit=AT_ONCE
            ),
        )
        hints = [Ring(run_id, step, begins=True) for run_id, step in found]
        place = random.randrange(len(hints)) if hints else 0  # noqa: S311  # keeps no secret
        return hints[place:] + hints[:place]

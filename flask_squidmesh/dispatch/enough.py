"""Messages left out because enough of them wait: a queue grows with the workers, not the work.

A worker that takes a message and finds that others wait goes on with them by
itself (`engine.backlog`). So while many messages stand in the queue, whoever
starts a run need not add another: it was committed before, and will be there
when a worker looks. What has stood in a queue comes late or for nothing, and
either makes a worker look; and those in the queue are taken later than now.

Nothing depends on it. Were all of them taken without anybody looking, then the
queue is empty, and the ticker rings again for what has waited a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from flask_squidmesh.clock import Clock
from flask_squidmesh.engine.news import Ring

ENOUGH: Final = 20
"""How many messages must wait. While one does, no worker waits, and each costs its time."""

ASKED_AFTER: Final = 10
"""After so many messages sent the broker is asked how many wait, which costs about one of them."""

_FASTEST: Final = 2000
"""So many messages a second are never taken: how long an answer of the broker is relied upon."""


class Enough:
    """How one process judges the queue. For one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent = 0
        self._relied_on_until = clock.monotonic()

    def needed(self, rings: Sequence[Ring]) -> Sequence[Ring]:
        """Return those of *rings* that need a message."""
        if self._clock.monotonic() >= self._relied_on_until:
            return rings
        return [ring for ring in rings if not ring.begins]

    def note(self, sent: Sequence[Ring], depth: Callable[[], int]) -> None:
        """Take note of messages just sent; *depth* asks the broker how many wait."""
        self._sent += sum(ring.begins for ring in sent)
        if self._sent < ASKED_AFTER:
            return
        waiting = depth()
        if waiting < ENOUGH:
            self._sent = 0
        else:
            # Once that is over, the next message sent is followed by another question.
            self._relied_on_until = self._clock.monotonic() + waiting / _FASTEST

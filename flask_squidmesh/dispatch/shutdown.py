"""Telling the processes of a Celery worker that it is shutting down.

Signals reach only the parent of a prefork pool, so a warm shutdown is invisible
to the children. One byte of shared memory, made before the fork, shows it.

A cold shutdown ends the children by a signal whose handler raises `SystemExit`
wherever the child stands, in the middle of a step as well.
"""

from __future__ import annotations

import mmap

from billiard import common  # type: ignore[import-untyped]  # ships none


class ShutdownFlag:
    """A flag shared with the processes forked after it was made."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._shared[0] = 1

    def is_set(self) -> bool:
        return self._shared[0] == 1


def is_being_ended() -> bool:
    """Return whether the handler by which a pool's child is ended has run in this process."""
    has_fired = getattr(common, "terminate_handler_fired", None)
    if has_fired is not None:
        return bool(has_fired())
    # How billiard remembered it before there was a function to ask.
    return bool(getattr(common, "_should_have_exited", [False])[0])

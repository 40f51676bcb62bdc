"""Telling the processes of a Celery worker that it is shutting down.

Signals reach only the parent of a prefork pool, so a warm shutdown is invisible
to the children. One byte of shared memory, made before the fork, shows it.
"""

from __future__ import annotations

import mmap


class ShutdownFlag:
    """A flag shared with the processes forked after it was made."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._shared[0] = 1

    def is_set(self) -> bool:
        return self._shared[0] == 1

"""Time-ordered identifiers: UUID version 7 (RFC 9562, section 5.7), as text.

The only place that makes ids. Within a process they are unique and increase,
also within one millisecond; between processes they increase with the clock.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import uuid

_COUNTER_BITS = 42
_lock = threading.Lock()
_millisecond = -1
_counter = 0


def new_id() -> str:
    """Return a new id in the canonical 36-character form.

    >>> first, second = new_id(), new_id()
    >>> first < second, uuid.UUID(first).version
    (True, 7)
    """
    global _millisecond, _counter
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _millisecond:
            _millisecond = now
            # The top bit stays clear, so that a burst within one millisecond has room to count.
            _counter = secrets.randbits(_COUNTER_BITS - 1)
        else:
            _counter += 1
            if _counter >> _COUNTER_BITS:
                _millisecond += 1
                _counter = secrets.randbits(_COUNTER_BITS - 1)
        millisecond, counter = _millisecond, _counter
    value = (
        (millisecond & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (counter >> 30) << 64
        | 0b10 << 62
        | (counter & 0x3FFF_FFFF) << 32
        | secrets.randbits(32)
    )
    return str(uuid.UUID(int=value))


def parse_id(text: object) -> str | None:
    """Return *text* as a canonical id, or None when it does not have the form of one."""
    if not isinstance(text, str):
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def parse_prefix(text: str) -> tuple[str, str] | None:
    """Return the lowest and the highest id that begin with *text*; None: no id does.

    Dashes stand where an id has them, or nowhere.

    >>> parse_prefix("0198ab")
    ('0198ab00-0000-0000-0000-000000000000', '0198abff-ffff-ffff-ffff-ffffffffffff')
    """
    wanted = text.strip().lower()
    digits = wanted.replace("-", "")
    if not digits or len(digits) > 32 or not set(digits) <= set("0123456789abcdef"):
        return None
    lowest, highest = (str(uuid.UUID(digits.ljust(32, end))) for end in "0f")
    return (lowest, highest) if wanted == digits or lowest.startswith(wanted) else None


def _forget_after_fork() -> None:
    # A child must not continue its parent's counter: two children would make the same ids.
    global _lock, _millisecond
    _lock = threading.Lock()
    _millisecond = -1


os.register_at_fork(after_in_child=_forget_after_fork)

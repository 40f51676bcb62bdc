"""Times and durations in words: absolute in UTC, and relative to the moment of the page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60))


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, for machines and for people."""

    iso: str
    absolute: str
    relative: str


def moment(at: datetime, now: datetime) -> Moment:
    """Return *at* as it looks from *now*."""
    at = at.astimezone(UTC)
    return Moment(at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", _relative(at - now))


def find_moment(at: datetime | None, now: datetime) -> Moment | None:
    """Return *at* as it looks from *now*; None for no time."""
    return None if at is None else moment(at, now)


def _relative(distance: timedelta) -> str:
    """Return the distance in its largest unit; coarse, so that a page seldom changes by it.

    >>> _relative(timedelta(seconds=-200)), _relative(timedelta(hours=30))
    ('3 minutes ago', 'in 1 day')
    """
    seconds = abs(int(distance.total_seconds()))
    amount = "less than a minute"
    for unit, size in _UNITS:
        if seconds >= size:
            count = seconds // size
            amount = f"{count} {unit}" if count == 1 else f"{count} {unit}s"
            break
    return f"{amount} ago" if distance <= timedelta(0) else f"in {amount}"


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units.

    >>> duration(0.0421), duration(3.5), duration(3723), duration(200_000)
    ('42 ms', '3.5 s', '1 h 2 min', '2 d 7 h')
    """
    if seconds < 1:
        return f"{round(max(seconds, 0) * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"

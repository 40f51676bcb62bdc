"""When a cron trigger fires: five-field expressions in a time zone.

The expression itself is cronsim's; what it means where the clock is changed is
settled here, since a local time then exists twice or not at all:

* A *fixed* local time that is skipped stands for the first instant after the
  gap; one that is repeated stands for its first occurrence.
* An expression that recurs within the hour (several minutes) or every hour
  follows *elapsed* time: it fires in both hours, and in none that is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from flask_squidmesh.exceptions import SquidMeshError

NAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_UNCHANGED: Final = timedelta(0)
_ANY_TIME: Final = datetime(2024, 1, 1, tzinfo=UTC)


class CronError(SquidMeshError, ValueError):
    """The expression or the time zone of a cron trigger is not valid.

    `part` is `"expression"` or `"timezone"`.
    """

    def __init__(self, part: str, reason: str) -> None:
        self.part = part
        self.reason = reason
        super().__init__(part, reason)

    def message(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression in its time zone; `elapsed` is how it passes a change of the clock."""

    fields: str
    zone: ZoneInfo
    elapsed: bool

    def next_after(self, after: datetime) -> datetime:
        """Return the first window strictly after the aware time *after*, in UTC.

        Raises:
            OverflowError: There is none within fifty years.
        """
        if after.tzinfo is None:
            raise ValueError("cron windows follow an aware datetime, such as datetime.now(UTC)")
        after = after.astimezone(UTC)
        found = self._next_elapsed(after) if self.elapsed else self._next_fixed(after)
        if found is None:
            raise OverflowError(f"{self.fields!r} has no window within fifty years of {after}")
        return found

    def latest_between(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last window in (*after*, *until*], or None; no walk through all of them."""
        span = timedelta(minutes=1)
        while True:
            start = max(after, until - span)
            window = self.next_after(start)
            if window <= until:
                break
            if start == after:
                return None
            span *= 8
        while (following := self.next_after(window)) <= until:
            window = following
        return window

    def windows(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield every window in (*after*, *until*], in order."""
        window = self.next_after(after)
        while window <= until:
            yield window
            window = self.next_after(window)

    def _next_fixed(self, after: datetime) -> datetime | None:
        # A later local time never stands for an earlier instant, so the first hit is the next.
        for local in CronSim(self.fields, self._wall(after)):
            instant = self._first_instant(local)
            if instant > after:
                return instant
        return None

    def _next_elapsed(self, after: datetime) -> datetime | None:
        # Around a clock set back, local times before the present one come once more.
        repeated = self._repeated(after)
        best: datetime | None = None
        for local in CronSim(self.fields, self._wall(after) - repeated):
            instants = self._instants(local)
            if best is not None and instants and instants[0] >= best:
                break
            for instant in instants:
                if instant > after and (best is None or instant < best):
                    best = instant
            if best is not None and not repeated:
                break
        return best

    def _repeated(self, after: datetime) -> timedelta:
        """Return how far the clock is set back within a day of *after*, mostly zero."""
        now = self._offset(after)
        before, later = self._offset(after - _DAY), self._offset(after + _DAY)
        return max(max(before, now) - min(now, later), _UNCHANGED)

    def _wall(self, instant: datetime) -> datetime:
        return instant.astimezone(self.zone).replace(tzinfo=None)

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self.zone).utcoffset() or _UNCHANGED

    def _instants(self, local: datetime) -> list[datetime]:
        """Return the instants at which clocks show *local*: none, one or two, in order."""
        both = (self._instant(local, 0), self._instant(local, 1))
        return sorted({instant for instant in both if self._wall(instant) == local})

    def _instant(self, local: datetime, fold: int) -> datetime:
        return local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)

    def _first_instant(self, local: datetime) -> datetime:
        """Return the first instant at which clocks show *local*, or have passed it."""
        instants = self._instants(local)
        if instants:
            return instants[0]
        # In a gap, fold 1 applies the new offset and lands before the change of the clock, fold 0
        # the old one and lands behind it (PEP 495); the change itself is found between the two.
        earlier, later = self._instant(local, 1), self._instant(local, 0)
        while later - earlier > _SECOND:
            middle = earlier + ((later - earlier) / 2 // _SECOND) * _SECOND
            if self._wall(middle) > local:
                later = middle
            else:
                earlier = middle
        return later


@lru_cache(maxsize=1024)
def parse(expression: str, timezone: str) -> Cron:
    """Return *expression* in *timezone*, checked.

    Raises:
        CronError: One of them is not valid, or the expression never matches.
    """
    zone = _zone(timezone)
    fields = NAMES.get(expression.strip().lower(), expression.strip())
    if fields.startswith("@"):
        raise CronError("expression", f"unknown name {expression!r}; use {', '.join(NAMES)}")
    if len(fields.split()) != 5:
        raise CronError(
            "expression",
            f"{expression!r} does not have five fields; "
            "write minute, hour, day of month, month and day of week",
        )
    try:
        parsed = CronSim(fields, _ANY_TIME)
    except CronSimError as error:
        raise CronError("expression", f"{expression!r} is not a cron expression: {error}") from None
    cron = Cron(fields, zone, elapsed=len(parsed.minutes) > 1 or len(parsed.hours) == 24)
    try:
        cron.next_after(_ANY_TIME)
    except OverflowError:
        raise CronError("expression", f"{expression!r} never matches a date") from None
    return cron


def next_after(expression: str, timezone: str, after: datetime) -> datetime:
    """Return the first window strictly after the aware time *after*, in UTC.

    >>> after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    >>> next_after("30 2 * * *", "Europe/Berlin", after).isoformat()
    '2026-03-29T01:00:00+00:00'
    """
    return parse(expression, timezone).next_after(after)


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CronError(
            "timezone",
            f"unknown time zone {timezone!r}; use an IANA name such as 'Europe/Paris'",
        ) from None

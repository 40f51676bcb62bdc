"""When cron triggers fire, above all where the clock is changed."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_squidmesh.definition.cron import NAMES, CronError, next_after, parse

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def windows(expression: str, zone: str, after: str, until: str) -> list[str]:
    """Return the windows between two days as local times with their offsets."""
    found = parse(expression, zone).windows(utc(after), utc(until))
    return [window.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for window in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("@hourly", "2026-05-06T08:00"),
        ("@daily", "2026-05-07T00:00"),
        ("@midnight", "2026-05-07T00:00"),
        ("@weekly", "2026-05-10T00:00"),
        ("@monthly", "2026-06-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        ("@annually", "2027-01-01T00:00"),
        (" @Daily ", "2026-05-07T00:00"),
        ("0 9 * * 1-5", "2026-05-06T09:00"),
        ("0 0 L * *", "2026-05-31T00:00"),
    ],
)
def test_expressions_and_names(name, expected):
    assert next_after(name, "UTC", utc("2026-05-06T07:08:09")) == utc(expected)
    assert set(NAMES) == {
        "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"
    }  # fmt: skip


def test_a_window_is_strictly_later():
    first = next_after("*/5 * * * *", "UTC", utc("2026-01-01T00:00:00"))

    assert first == utc("2026-01-01T00:05")
    assert next_after("*/5 * * * *", "UTC", first - timedelta(microseconds=1)) == first


def test_times_are_aware():
    with pytest.raises(ValueError, match="aware"):
        next_after("@daily", "UTC", datetime(2026, 1, 1))  # noqa: DTZ001  # the point


@pytest.mark.parametrize(
    ("expression", "zone", "part", "said"),
    [
        ("* * * *", "UTC", "expression", "does not have five fields"),
        ("0 * * * * *", "UTC", "expression", "does not have five fields"),
        ("61 * * * *", "UTC", "expression", "Bad minute"),
        ("@reboot", "UTC", "expression", "unknown name"),
        ("0 0 31 2 *", "UTC", "expression", "Bad day-of-month"),
        ("0 0 */31 * MON#2", "UTC", "expression", "never matches"),
        ("@daily", "Mars/One", "timezone", "unknown time zone"),
        ("@daily", "../../etc/passwd", "timezone", "unknown time zone"),
    ],
)
def test_what_is_wrong_is_named(expression, zone, part, said):
    with pytest.raises(CronError, match=said) as caught:
        parse(expression, zone)

    assert caught.value.part == part
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # our own


# Berlin: 29 March 2026, 02:00 to 03:00; 25 October 2026, 03:00 back to 02:00.
# Santiago: 6 September 2026, 00:00 to 01:00; 4 April 2026, 24:00 back to 23:00.
# Lord Howe: 4 October 2026, 02:00 to 02:30; 5 April 2026, 02:00 back to 01:30.


@pytest.mark.parametrize(
    ("expression", "zone", "after", "until", "expected"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28",
            "2026-03-31",
            ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24",
            "2026-10-27",
            ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"],
        ),
        (
            "0 0 * * *",
            "America/Santiago",
            "2026-09-05T12:00",
            "2026-09-08",
            ["06 01:00-0300", "07 00:00-0300"],
        ),
        (
            "0 */6 * * *",
            "America/Santiago",
            "2026-09-05T21:00",
            "2026-09-06T16:00",
            ["05 18:00-0400", "06 01:00-0300", "06 06:00-0300", "06 12:00-0300"],
        ),
        (
            "30 23 * * *",
            "America/Santiago",
            "2026-04-03T12:00",
            "2026-04-06T12:00",
            ["03 23:30-0300", "04 23:30-0300", "05 23:30-0400"],
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-02T18:00",
            "2026-10-05",
            ["04 02:30+1100", "05 02:15+1100"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04",
            "2026-04-06",
            ["05 01:45+1100", "06 01:45+1030"],
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:00",
            "2026-10-25T03:00",
            ["25 02:00+0200", "25 02:00+0100", "25 03:00+0100", "25 04:00+0100"],
        ),
        (
            "30 0-23 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00",
            "2026-03-29T02:00",
            ["29 01:30+0100", "29 03:30+0200"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "2026-10-25T12:00",
            ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100"],
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "2026-10-25T12:00",
            ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100"],
        ),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T12:00", []),
        (
            "*/20 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:10",
            "2026-04-04T15:40",
            ["05 01:20+1100", "05 01:40+1100", "05 01:40+1030", "05 02:00+1030"],
        ),
    ],
)
def test_a_change_of_the_clock(expression, zone, after, until, expected):
    assert windows(expression, zone, after, until) == expected


ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Santiago",
        "Asia/Beirut",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Casablanca",
        "America/Asuncion",
        "Atlantic/Azores",
        "Antarctica/Troll",
    ]
)


@functools.cache
def changes(name: str) -> list[datetime]:
    """Return the hours in which the zone changes its offset, found by looking."""
    zone = ZoneInfo(name)
    hours = [utc("2010-12-01") + timedelta(hours=n) for n in range(24 * 420)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    found = [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]
    return found or [utc("2011-06-01")]


def fields_of(text: str, low: int, high: int) -> set[int]:
    """Return the numbers of a field of the few forms used here."""
    if text.startswith("*"):
        return set(range(low, high + 1, int(text[2:] or 1)))
    if "-" in text:
        first, last = text.split("-")
        return set(range(int(first), int(last) + 1))
    return {int(number) for number in text.split(",")}


def expected_windows(
    expression: str, zone: ZoneInfo, start: datetime, end: datetime
) -> list[datetime]:
    """Return the windows in (start, end], minute by minute, as the specification has them."""
    minutes, hours = (
        fields_of(text, 0, high) for text, high in zip(expression.split(), (59, 23), strict=False)
    )
    elapsed = len(minutes) > 1 or hours == set(range(24))
    found = []
    clock = (start - timedelta(hours=26)).astimezone(UTC)
    latest: datetime | None = None
    while clock <= end:
        local = clock.astimezone(zone).replace(tzinfo=None)
        if elapsed:
            fires = local.hour in hours and local.minute in minutes
        else:
            # Every local minute that passes for the first time, and those jumped over with it.
            passed = [] if latest is not None and local <= latest else list(_up_to(latest, local))
            fires = any(each.hour in hours and each.minute in minutes for each in passed)
        latest = local if latest is None else max(latest, local)
        if fires and start < clock:
            found.append(clock)
        clock += MINUTE
    return found


def _up_to(latest: datetime | None, local: datetime) -> Iterator[datetime]:
    each = local if latest is None else latest + MINUTE
    while each <= local:
        yield each
        each += MINUTE


MINUTES = st.sampled_from(["0", "30", "15", "59", "*", "*/20", "0,30", "*/45"])
HOURS = st.sampled_from(["*", "0", "1", "2", "23", "*/2", "0-23", "0-3", "1,2,3", "22-23"])


@settings(deadline=None, max_examples=50)
@given(MINUTES, HOURS, ZONES, st.data())
def test_windows_are_those_counted_minute_by_minute(minute, hour, name, data):
    zone = ZoneInfo(name)
    centre = data.draw(st.sampled_from(changes(name)))
    start = centre + timedelta(minutes=data.draw(st.integers(-36 * 60, 4 * 60)))
    end = centre + timedelta(hours=30)
    expression = f"{minute} {hour} * * *"

    found = list(parse(expression, name).windows(start, end))

    assert found == expected_windows(expression, zone, start, end)


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0 0 1 * *"]),
    ZONES,
    st.integers(0, 60 * 24 * 400),
    st.integers(0, 60 * 24 * 90),
)
@example("* * * * *", "UTC", 0, 60 * 24 * 90)
def test_the_latest_window_is_the_last_one(expression, zone, offset, length):
    cron = parse(expression, zone)
    after = utc("2026-01-01") + offset * MINUTE
    until = after + length * MINUTE

    latest = cron.latest_between(after, until)

    if latest is None:
        assert cron.next_after(after) > until
    else:
        assert after < latest <= until < cron.next_after(latest)


def test_a_long_downtime_is_not_walked_through(monkeypatch):
    cron = parse("* * * * *", "Europe/Berlin")
    calls = 0
    original = type(cron).next_after

    def counted(self, after):
        nonlocal calls
        calls += 1
        return original(self, after)

    monkeypatch.setattr(type(cron), "next_after", counted)

    assert cron.latest_between(utc("2020-01-01"), utc("2026-01-01")) == utc("2026-01-01")
    assert calls < 20

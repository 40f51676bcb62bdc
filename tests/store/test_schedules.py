"""Schedules: whoever moves a trigger on is the only one who does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from flask_squidmesh.store import schedules
from flask_squidmesh.store.schedules import ScheduleRow
from tests.store.conftest import NOON

HOUR = timedelta(hours=1)
ROW = ScheduleRow("digest", "daily", "@hourly", "UTC", "latest", NOON, None, NOON)


def stored(connection):
    return schedules.list_all(connection, ["digest"])


def test_trigger_is_new_once(unit):
    with unit() as connection:
        assert schedules.put(connection, ROW)
        assert not schedules.put(connection, replace(ROW, next_at=NOON + HOUR))
        assert stored(connection) == [ROW]


def test_of_two_tickers_that_saw_the_same_window_one_moves_on(unit):
    with unit() as connection:
        schedules.put(connection, ROW)
        assert schedules.advance(connection, ROW, next_at=NOON + HOUR, last_window=NOON)
        moved = replace(ROW, next_at=NOON + HOUR, last_window=NOON)
        assert not schedules.advance(connection, ROW, next_at=NOON + 2 * HOUR, last_window=NOON)
        assert stored(connection) == [moved]


def test_ticker_of_an_older_declaration_moves_nothing_on(unit):
    with unit() as connection:
        schedules.put(connection, ROW)
        changed = replace(ROW, timezone="Europe/Paris")
        assert schedules.redeclare(connection, ROW, changed)
        assert not schedules.advance(connection, ROW, next_at=NOON + HOUR, last_window=NOON)
        assert not schedules.redeclare(connection, ROW, replace(ROW, expression="@daily"))
        assert stored(connection) == [changed]


def test_other_triggers_are_left_alone(unit):
    with unit() as connection:
        other = replace(ROW, trigger="weekly")
        schedules.put(connection, ROW)
        schedules.put(connection, other)
        schedules.advance(connection, ROW, next_at=NOON + HOUR, last_window=NOON)
        assert other in stored(connection)
        assert schedules.list_all(connection, ["another"]) == []

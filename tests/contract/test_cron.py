"""Cron triggers, end to end: the ticker starts one run per window, whoever ticks."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from marshmallow import fields

from flask_squidmesh import Workflow, complete, cron, manual, step, wait
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import freeze, run_until_idle, tick
from tests.contract.conftest import NOON
from tests.contract.host import World, make_world

HOUR = 3600


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def digest(
    expression: str = "@hourly", *, seen: list[Any] | None = None, **options
) -> type[Workflow]:
    """Return a workflow that fires by *expression* and notes what its runs were started for."""

    def work(context):
        if seen is not None:
            seen.append(context.schedule)

    class Digest(Workflow):
        daily = cron(expression, **options)
        by_hand = manual()
        work_on = step(work)
        transitions = [work_on >> complete]

    return Digest


def windows(seen) -> list[str]:
    return [schedule["window_start"] for schedule in seen]


def advance_and_tick(clock, *, seconds: float) -> int:
    """Move time on and do one round; return how many cron runs that started."""
    clock.advance(seconds=seconds)
    return tick().started


# One run per window.


def test_window_starts_one_run_however_often_somebody_ticks(world, clock, seen):
    world.squidmesh.register(digest(seen=seen))
    assert [tick().started for _ in range(3)] == [0, 0, 0]
    assert advance_and_tick(clock, seconds=HOUR - 1) == 0
    assert advance_and_tick(clock, seconds=1) == 1
    assert [tick().started for _ in range(3)] == [0, 0, 0]
    assert advance_and_tick(clock, seconds=HOUR) == 1
    run_until_idle()
    assert windows(seen) == ["2026-11-02T13:00:00+00:00", "2026-11-02T14:00:00+00:00"]


def test_cron_run_is_a_run_like_any_other(world, clock):
    world.squidmesh.register(digest())
    tick()
    advance_and_tick(clock, seconds=HOUR)
    (run,) = world.squidmesh.list_runs(workflow="digest", trigger="daily")
    assert (run.status, run.current_step, run.payload) == ("pending", "work_on", {})
    assert run.created_at == clock.now
    assert world.go(run.id).status == "completed"


def test_each_trigger_has_its_own_windows(world, clock):
    class Reports(Workflow):
        hourly = cron("@hourly")
        half = cron("*/30 * * * *")
        work = step(lambda: None)
        transitions = [work >> complete]

    world.squidmesh.register(Reports)
    world.squidmesh.register(digest())
    tick()
    assert advance_and_tick(clock, seconds=HOUR / 2) == 1
    assert advance_and_tick(clock, seconds=HOUR / 2) == 3
    started = [(run.workflow, run.trigger) for run in world.squidmesh.list_runs()]
    assert sorted(started) == [
        ("digest", "daily"),
        ("reports", "half"),
        ("reports", "half"),
        ("reports", "hourly"),
    ]


def test_window_starts_one_run_however_many_tick_at_once(url):
    rounds, tickers = 5, 4
    barrier = threading.Barrier(tickers)

    def ticker(_: int) -> list[int]:
        # An application each, as every process has: its own engine and its own idea of cron.
        with make_world(url) as world, freeze(NOON) as clock:
            world.squidmesh.register(digest())
            tick()
            started = []
            for _round in range(rounds):
                clock.advance(seconds=HOUR)
                barrier.wait(30)
                started.append(tick().started)
            return started

    with ThreadPoolExecutor(tickers) as pool:
        each = list(pool.map(ticker, range(tickers)))
    assert [sum(started) for started in zip(*each, strict=True)] == [1] * rounds
    with make_world(url) as world:
        assert world.count_runs() == rounds


def test_window_starts_one_run_even_when_its_schedule_is_turned_back(url):
    """While releases with two expressions tick, one of them on a host whose clock is slow."""

    def ticker(expression: str, at: datetime) -> int:
        with make_world(url) as world, freeze(at):
            world.squidmesh.register(digest(expression))
            return tick().started

    ticker("0 13 * * *", NOON)
    assert ticker("0 13 * * *", utc("2026-11-02T13:00:10")) == 1
    assert ticker("0 13 * * 1", utc("2026-11-02T12:59:50")) == 0
    assert ticker("0 13 * * 1", utc("2026-11-02T13:00:20")) == 0
    with make_world(url) as world:
        assert world.count_runs() == 1


# Windows that were missed.


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("latest", ["16:00"]),
        ("all", ["13:00", "14:00", "15:00", "16:00"]),
        ("none", []),
    ],
)
def test_missed_windows_are_started_as_catch_up_says(world, clock, seen, catch_up, expected):
    world.squidmesh.register(digest(catch_up=catch_up, seen=seen))
    tick()
    assert advance_and_tick(clock, seconds=4 * HOUR + 61) == len(expected)
    assert tick().started == 0
    run_until_idle()
    assert [window[11:16] for window in windows(seen)] == expected
    # The next window comes as if nothing had been missed.
    assert advance_and_tick(clock, seconds=HOUR - 61) == 1


def test_latest_is_what_catch_up_is_by_default(world, clock, seen):
    world.squidmesh.register(digest(seen=seen))
    tick()
    assert advance_and_tick(clock, seconds=100 * HOUR) == 1
    run_until_idle()
    assert windows(seen) == ["2026-11-06T16:00:00+00:00"]


@pytest.mark.parametrize(("late", "started"), [(0, 1), (59.9, 1), (60, 1), (60.1, 0), (HOUR, 1)])
def test_window_without_catch_up_is_started_within_60_seconds_of_its_time(
    world, clock, late, started
):
    world.squidmesh.register(digest(catch_up="none"))
    tick()
    assert advance_and_tick(clock, seconds=HOUR + late) == started


def test_all_of_many_missed_windows_are_started_over_several_rounds(world, clock):
    world.squidmesh.register(digest("* * * * *", catch_up="all"))
    tick()
    started = [advance_and_tick(clock, seconds=600 * 60)]
    while started[-1]:
        started.append(tick().started)
    assert sum(started) == 600
    assert len(started) > 2


def test_windows_before_the_trigger_was_known_are_not_missed(world, clock):
    world.squidmesh.register(digest("* * * * *", catch_up="all"))
    clock.advance(seconds=10 * HOUR)
    assert tick().started == 0
    assert advance_and_tick(clock, seconds=60) == 1


def test_time_that_is_moved_for_timers_starts_no_cron_run(world, clock):
    class Resting(Workflow):
        by_hand = manual()
        daily = cron("@hourly")
        rest = wait(seconds=100 * HOUR)
        transitions = [rest >> complete]

    run_id = world.start(Resting)
    tick()
    assert world.go(run_id, advance=True).status == "completed"
    assert clock.now == NOON + timedelta(hours=100)
    assert world.count_runs() == 1


# Declarations that change.


def redeclared(url, at: datetime, *declared: type[Workflow]) -> int:
    """Tick once in a new process that has these workflows; return how many runs that started."""
    with make_world(url) as world, freeze(at):
        for workflow in declared:
            world.squidmesh.register(workflow)
        return tick().started


def test_changed_expression_counts_from_when_it_is_first_seen(url):
    redeclared(url, NOON, digest("@hourly"))
    every_minute = digest("* * * * *", catch_up="all")
    assert redeclared(url, NOON + timedelta(hours=5), every_minute) == 0
    assert redeclared(url, NOON + timedelta(hours=5, minutes=1), every_minute) == 1


def test_changed_time_zone_counts_from_when_it_is_first_seen(url):
    redeclared(url, NOON, digest("0 13 * * *"))
    berlin = digest("0 13 * * *", timezone="Europe/Berlin")
    assert redeclared(url, utc("2026-11-02T13:00"), berlin) == 0
    assert redeclared(url, utc("2026-11-03T11:59"), berlin) == 0
    assert redeclared(url, utc("2026-11-03T12:00"), berlin) == 1


def test_changed_catch_up_is_followed_at_once_and_forgets_no_window(url):
    redeclared(url, NOON, digest(catch_up="latest"))
    later = NOON + timedelta(hours=3)
    assert redeclared(url, later, digest(catch_up="all")) == 3


def test_workflow_that_is_not_registered_does_not_fire(url, seen):
    redeclared(url, NOON, digest())
    assert redeclared(url, NOON + timedelta(hours=1)) == 0
    assert redeclared(url, NOON + timedelta(hours=2)) == 0


@pytest.mark.parametrize(("catch_up", "started"), [("latest", 1), ("all", 3), ("none", 1)])
def test_workflow_that_returns_catches_up_as_its_trigger_says(url, catch_up, started):
    redeclared(url, NOON, digest(catch_up=catch_up))
    redeclared(url, NOON + timedelta(hours=2))
    assert redeclared(url, NOON + timedelta(hours=3), digest(catch_up=catch_up)) == started


def test_new_windows_follow_the_definition_of_today(url, clock, seen):
    def other(seen):
        class Digest(Workflow):
            daily = cron("@hourly")
            first = step(lambda: seen.append("first"))
            second = step(lambda: seen.append("second"))
            transitions = [first >> second >> complete]

        return Digest

    redeclared(url, NOON, digest())
    with make_world(url) as world, freeze(NOON + timedelta(hours=1)):
        world.squidmesh.register(other(seen))
        assert tick().started == 1
        run_until_idle()
    assert seen == ["first", "second"]


# What a run knows of its window.


def test_schedule_tells_the_step_what_it_was_started_for(world, clock, seen):
    world.squidmesh.register(digest("0 9 * * 1-5", timezone="Europe/Paris", seen=seen))
    tick()
    assert advance_and_tick(clock, seconds=20 * HOUR + 7) == 1
    clock.advance(seconds=100)
    run_until_idle()
    (schedule,) = seen
    assert schedule == {
        "trigger": "daily",
        "expression": "0 9 * * 1-5",
        "timezone": "Europe/Paris",
        "window_start": "2026-11-03T08:00:00+00:00",
        "window_end": "2026-11-04T08:00:00+00:00",
        "fired_at": "2026-11-03T08:00:07+00:00",
    }
    assert json.loads(json.dumps(schedule)) == schedule


def test_windows_follow_one_another_without_a_gap(world, clock, seen):
    world.squidmesh.register(digest("*/20 * * * *", catch_up="all", seen=seen))
    tick()
    advance_and_tick(clock, seconds=2 * HOUR)
    run_until_idle()
    ends = [schedule["window_end"] for schedule in seen]
    assert len(seen) == 6
    assert windows(seen)[1:] == ends[:-1]


@pytest.mark.parametrize("trigger", ["by_hand", "daily"])
def test_run_that_was_started_by_hand_has_no_schedule(world, seen, trigger):
    workflow = digest(seen=seen)
    world.go(world.start(workflow, trigger=trigger))
    assert seen == [None]


def test_defaults_of_the_payload_are_evaluated_for_each_run(world, clock):
    world.squidmesh.register(
        digest(
            catch_up="all",
            token=fields.Raw(load_default=new_id),
            region=fields.String(load_default="eu"),
        )
    )
    tick()
    advance_and_tick(clock, seconds=3 * HOUR)
    payloads = [run.payload for run in world.squidmesh.list_runs()]
    assert [set(payload) for payload in payloads] == [{"token", "region"}] * 3
    assert len({payload["token"] for payload in payloads}) == 3


def test_payload_that_is_refused_is_logged_and_the_trigger_goes_on(world, clock, caplog):
    given = iter([{1, 2}, "fine"])
    world.squidmesh.register(digest(bad=fields.Raw(load_default=lambda: next(given))))
    tick()
    assert advance_and_tick(clock, seconds=HOUR) == 0
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "digest" in record.getMessage()
    assert advance_and_tick(clock, seconds=HOUR) == 1


def test_replay_of_a_cron_run_keeps_its_schedule_and_leaves_its_window_alone(world, clock, seen):
    world.squidmesh.register(digest(seen=seen))
    tick()
    advance_and_tick(clock, seconds=HOUR)
    (source,) = world.squidmesh.list_runs()
    again = [world.squidmesh.replay_run(source.id) for _ in range(2)]
    assert [(run.trigger, run.replayed_from_run_id) for run in again] == [("daily", source.id)] * 2
    run_until_idle()
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    assert tick().started == 0
    assert advance_and_tick(clock, seconds=HOUR) == 1


# Changes of the clock. Berlin 2026: 29 March 02:00 to 03:00, 25 October 03:00 back to 02:00.


def fired(world: World, expression: str, start: str, *, hours: int, seen: list[Any]) -> list[str]:
    """Tick every half hour, and return the windows that were started, in UTC."""
    world.squidmesh.register(digest(expression, timezone="Europe/Berlin", seen=seen))
    with freeze(utc(start)) as clock:
        tick()
        for _ in range(2 * hours):
            advance_and_tick(clock, seconds=HOUR / 2)
            run_until_idle()
    return [window[8:16] for window in windows(seen)]


def test_fixed_time_that_is_skipped_runs_once_at_the_first_instant_after_the_gap(world, seen):
    found = fired(world, "30 2 * * *", "2026-03-28T00:00", hours=60, seen=seen)
    assert found == ["28T01:30", "29T01:00", "30T00:30"]


def test_fixed_time_that_is_repeated_runs_once_the_first_time(world, seen):
    found = fired(world, "30 2 * * *", "2026-10-24T00:00", hours=60, seen=seen)
    assert found == ["24T00:30", "25T00:30", "26T01:30"]


def test_expression_of_every_hour_runs_in_both_hours(world, seen):
    found = fired(world, "30 * * * *", "2026-10-25T00:00", hours=3, seen=seen)
    assert found == ["25T00:30", "25T01:30", "25T02:30"]


def test_expression_within_the_hour_runs_in_both_hours(world, seen):
    found = fired(world, "0,30 2 * * *", "2026-10-24T12:00", hours=24, seen=seen)
    assert found == ["25T00:00", "25T00:30", "25T01:00", "25T01:30"]


def test_expression_within_the_hour_does_not_run_in_an_hour_that_is_skipped(world, seen):
    found = fired(world, "0,30 2 * * *", "2026-03-28T12:00", hours=48, seen=seen)
    assert found == ["30T00:00", "30T00:30"]

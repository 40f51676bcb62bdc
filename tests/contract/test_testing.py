"""The testing helpers, which are a product of their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from celery import Celery

from flask_squidmesh import Retry, Workflow, complete, fixed, manual, pause, step, wait
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import (
    abandon,
    broker_down,
    deliver,
    execute_next,
    freeze,
    run_until_idle,
    tick,
)
from tests.contract.host import attempts, db, notes, single, step_state, write

NO_RUN = "018f0000-0000-7000-8000-000000000000"


class Timed(Workflow):
    go = manual()
    first = step(lambda: None)
    settle = wait(seconds=60)
    hold = pause()
    last = step(lambda: None)
    transitions = [first >> settle >> hold >> last >> complete]


def endless():
    class Endless(Workflow):
        go = manual()
        turn = step(lambda: None)
        transitions = [turn >> turn, turn.on_error(complete)]

    return Endless


# run_until_idle


def test_run_until_idle_returns_how_many_attempts_were_executed(world, clock):
    def fail_once(context):
        if context.attempt == 1:
            raise OSError

    world.start(single(fail_once, retry=Retry(2)))
    assert run_until_idle() == 2
    assert run_until_idle() == 0


def test_run_until_idle_does_not_move_time(world, clock):
    run_id = world.start(Timed)
    before = clock.now
    assert (run_until_idle(), clock.now) == (1, before)
    assert world.see(run_id).current_step == "settle"


def test_run_until_idle_with_advance_stops_at_pauses_only(world, clock):
    run_id = world.start(Timed)
    before = clock.now
    run_until_idle(advance=True)
    assert world.see(run_id).status == "paused"
    assert clock.now == before + timedelta(seconds=60)


def test_run_until_idle_with_advance_needs_no_frozen_clock(world):
    run_id = world.start(Timed)
    run_until_idle(advance=True)
    assert world.see(run_id).status == "paused"
    world.squidmesh.unblock_run(run_id)
    run_until_idle(advance=True)
    assert world.see(run_id).status == "completed"


def test_run_until_idle_with_advance_passes_the_end_of_leases(world, clock):
    def die_once(context):
        if context.attempt == 1:
            abandon(context.run_id, context.step)

    run_id = world.start(single(die_once))
    assert run_until_idle(advance=True) == 2
    assert attempts(world.see(run_id), "work") == [(1, "abandoned"), (2, "completed")]


def test_run_until_idle_refuses_to_execute_more_than_the_limit(world):
    world.start(endless())
    with pytest.raises(RuntimeError, match="25"):
        run_until_idle(limit=25)


def test_run_until_idle_executes_exactly_the_limit(world):
    for _ in range(3):
        world.squidmesh.start_run(world.squidmesh.register(Timed))
    assert run_until_idle(limit=3) == 3


def test_work_is_executed_in_the_order_it_became_ready(world, clock, seen):
    flow = single(lambda context: seen.append(context.run_id))
    started = []
    for _ in range(4):
        started.append(world.start(flow))
        clock.advance(seconds=1)
    run_until_idle()
    assert seen == started


# execute_next


def test_execute_next_executes_one_step_and_returns_its_step_run(world, clock):
    run_id = world.start(Timed)
    done = execute_next()
    assert done is not None
    assert (done.step, done.status, done.visit) == ("first", "completed", 1)
    assert world.see(run_id).current_step == "settle"


def test_execute_next_returns_none_when_nothing_is_ready(world, clock):
    assert execute_next() is None
    world.start(Timed)
    execute_next()
    assert execute_next() is None


def test_execute_next_goes_on_after_an_abandoned_step(world, clock):
    world.start(single(lambda context: abandon(context.run_id, context.step)))
    done = execute_next()
    assert done is not None
    assert (done.status, execute_next()) == ("running", None)


# deliver


def test_deliver_says_executed_or_why_nothing_was_done(world, clock):
    def look(context):
        assert deliver(context.run_id, "first") == "already_running"

    class Told(Workflow):
        go = manual()
        first = step(look)
        settle = wait(seconds=60)
        hold = pause()
        last = step(lambda: None)
        repair = step(lambda: None)
        transitions = [
            first >> settle >> hold >> last >> complete,
            last.on_error(repair),
            repair >> complete,
        ]

    run_id = world.start(Told)
    assert (deliver(run_id, "settle"), deliver(run_id, "nobody")) == ("not_ready", "unknown")
    assert deliver(run_id, "first") == "executed"
    assert (deliver(run_id, "first"), deliver(run_id, "settle")) == ("finished", "not_due")
    clock.advance(seconds=60)
    assert deliver(run_id, "settle") == "executed"
    assert deliver(run_id, "hold") == "not_ready"
    world.squidmesh.unblock_run(run_id)
    assert deliver(run_id, "last") == "executed"
    assert (deliver(run_id, "last"), deliver(run_id, "repair")) == ("finished", "run_not_active")


@pytest.mark.parametrize("run_id", ["nonsense", "", NO_RUN])
def test_deliver_for_no_run_is_unknown(world, run_id):
    assert deliver(run_id, "work") == "unknown"


def test_messages_that_are_doubled_late_or_forged_change_nothing(world, clock, seen):
    run = world.run(single(lambda: seen.append(1)))
    for forged in ("work", "nobody", ""):
        deliver(run.id, forged)
    assert (world.see(run.id), seen) == (run, [1])


# tick


def test_tick_rings_what_is_due_and_says_how_much(world, clock):
    world.start(single(lambda: None))
    assert (tick().due, tick().expired, tick().started) == (0, 0, 0)
    clock.advance(seconds=10)
    assert tick().to_dict() == {"due": 1, "expired": 0, "started": 0}
    assert tick().due == 0


def test_tick_rings_for_timers_and_retries_when_they_are_due(world, clock):
    def fail():
        raise OSError

    world.start(single(fail, retry=Retry(2, fixed(30))))
    world.start(Timed)
    run_until_idle()
    clock.advance(seconds=29)
    assert tick().due == 0
    clock.advance(seconds=1)
    assert tick().due == 1
    clock.advance(seconds=9)
    assert tick().due == 0
    clock.advance(seconds=21)
    assert tick().due == 2


def test_tick_sends_again_with_growing_patience(world, clock):
    world.start(single(lambda: None))
    rung_at = []
    for second in range(5, 1000, 5):
        clock.advance(seconds=5)
        rung_at += [second] * tick().due
    gaps = [later - earlier for earlier, later in zip([0, *rung_at], rung_at, strict=False)]
    assert gaps[:3] == sorted(gaps[:3])
    assert (gaps[0], max(gaps)) == (10, 300)


def test_tick_leaves_paused_and_finished_runs_alone(world, clock):
    run_id = world.start(Timed)
    run_until_idle(advance=True)
    clock.advance(seconds=10_000)
    assert (tick().due, tick().expired) == (0, 0)
    world.squidmesh.cancel_run(run_id)
    clock.advance(seconds=10_000)
    assert tick().due == 0


# freeze


def test_frozen_time_stands_still_and_is_moved(world):
    at = datetime(2030, 1, 1, tzinfo=UTC)
    with freeze(at) as clock:
        first = world.run(single(lambda: None))
        assert first.created_at == first.finished_at == clock.now == at
        clock.advance(seconds=2.5)
        assert clock.now == at + timedelta(seconds=2.5)


def test_frozen_time_ends_with_the_block(world):
    flow = world.squidmesh.register(single(lambda: None))
    with freeze(datetime(2030, 1, 1, tzinfo=UTC)):
        pass
    assert world.squidmesh.start_run(flow).created_at.year != 2030


def test_freeze_without_a_time_begins_now(world):
    flow = world.squidmesh.register(single(lambda: None))
    before = world.squidmesh.start_run(flow).created_at
    with freeze() as clock:
        assert timedelta(0) <= clock.now - before < timedelta(minutes=1)


def test_time_of_any_zone_is_taken_as_utc(world):
    with freeze(datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) as clock:
        assert clock.now == datetime(2030, 1, 1, tzinfo=UTC)


def test_naive_time_and_time_going_back_are_refused(world):
    with pytest.raises(ValueError, match="aware"), freeze(datetime(2030, 1, 1)):  # noqa: DTZ001
        pass
    with freeze() as clock, pytest.raises(ValueError, match="back"):
        clock.advance(seconds=-1)


def test_helpers_need_a_context():
    for helper in (run_until_idle, execute_next, tick, lambda: deliver(new_id(), "work")):
        with pytest.raises(RuntimeError, match="app_context"):
            helper()


# abandon


def test_abandon_does_not_return_and_loses_uncommitted_writes(world, clock, seen):
    def die(context):
        write("committed")
        db.session.commit()
        write("lost")
        db.session.flush()
        abandon(context.run_id, context.step)
        seen.append("returned")

    run = world.run(single(die))
    assert (seen, notes(), run.status) == ([], ["committed"], "running")


def test_abandon_is_not_caught_by_code_that_catches_exceptions(world, clock, seen):
    def die(context):
        try:
            abandon(context.run_id, context.step)
        except Exception as error:
            seen.append(error)
            raise

    run = world.run(single(die))
    assert (seen, step_state(run, "work").status) == ([], "running")


# broker_down


def test_start_run_survives_an_unreachable_broker(open_world):
    celery = Celery(set_as_current=False, broker="memory://")
    world = open_world(SQUIDMESH_DISPATCH="celery", SQUIDMESH_QUEUE=new_id())
    world.app.extensions["celery"] = celery
    flow = world.squidmesh.register(single(lambda: None))
    before = time.monotonic()
    with broker_down():
        run = world.squidmesh.start_run(flow)
    assert time.monotonic() - before < 2
    assert world.squidmesh.inspect_run(run.id).status == "pending"
    assert world.go(run.id).status == "completed"

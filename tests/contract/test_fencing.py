"""Attempts that lost their worker, or their lease, and what they may still do: nothing."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from flask_squidmesh import Retry, Workflow, complete, exponential, fixed, manual, step
from flask_squidmesh.testing import abandon, deliver, execute_next, freeze, run_until_idle, tick
from tests.contract.host import attempts, db, notes, path, single, step_run, step_state, write


def dying(times):
    """Return a step function whose worker vanishes in its first attempts."""

    def work(context):
        write(f"attempt {context.attempt}")
        db.session.flush()
        if context.attempt <= times:
            abandon(context.run_id, context.step)
        return {"survived": context.attempt}

    return work


# Vanished workers.


def test_abandoned_attempt_records_nothing_and_keeps_its_lease(world, clock):
    run = world.run(single(dying(1)))
    state = step_state(run, "work")
    assert (run.status, run.current_step, state.status) == ("running", "work", "running")
    assert (attempts(run, "work"), notes()) == ([(1, "running")], [])
    assert state.due_at is not None
    assert (state.due_at - clock.now).total_seconds() == 60


def test_abandoned_attempt_is_taken_over_once_its_lease_has_run_out(world, clock):
    run = world.run(single(dying(1)))
    assert deliver(run.id, "work") == "already_running"
    clock.advance(seconds=59.9)
    assert (tick().expired, deliver(run.id, "work")) == (0, "already_running")
    clock.advance(seconds=0.1)
    assert tick().expired == 1
    run = world.go(run.id)
    assert (run.status, run.context) == ("completed", {"survived": 2})
    assert attempts(run, "work") == [(1, "abandoned"), (2, "completed")]
    assert notes() == ["attempt 2"]


def test_lease_is_as_long_as_the_setting_says(open_world):
    world = open_world(SQUIDMESH_LEASE_TTL=5)
    with freeze() as clock:
        run = world.run(single(dying(1)))
        clock.advance(seconds=4.9)
        assert tick().expired == 0
        clock.advance(seconds=0.1)
        assert tick().expired == 1
        assert world.go(run.id).status == "completed"


def test_heartbeat_extends_the_lease(world, clock):
    def work(context):
        clock.advance(seconds=50)
        context.heartbeat()
        abandon(context.run_id, context.step)

    run = world.run(single(work))
    clock.advance(seconds=59)
    assert tick().expired == 0
    clock.advance(seconds=1)
    assert tick().expired == 1
    assert world.see(run.id).status == "retrying"


def test_run_is_retrying_with_the_loss_between_abandonment_and_takeover(world, clock):
    run = world.run(single(dying(1)))
    clock.advance(seconds=60)
    tick()
    run = world.see(run.id)
    assert (run.status, step_state(run, "work").status) == ("retrying", "retrying")
    assert run.last_error is not None
    assert (run.last_error["code"], run.last_error["step"]) == ("worker_lost", "work")


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_step_without_a_policy_may_lose_its_worker_as_often_as_the_setting_says(open_world, limit):
    world = open_world(SQUIDMESH_MAX_LOST_ATTEMPTS=limit)
    with freeze():
        run = world.run(single(dying(limit)), advance=True)
        assert (run.status, run.context) == ("completed", {"survived": limit + 1})


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_step_without_a_policy_that_loses_more_workers_fails(open_world, limit):
    world = open_world(SQUIDMESH_MAX_LOST_ATTEMPTS=limit)
    with freeze():
        run = world.run(single(dying(100)), advance=True)
        assert run.status == "failed"
        assert run.last_error is not None
        assert run.last_error["code"] == "worker_lost"
        assert attempts(run, "work") == [(n, "abandoned") for n in range(1, limit + 2)]
        assert notes() == []


def test_lost_attempts_count_like_any_other_under_a_policy(world, clock):
    def work(context):
        if context.attempt == 2:
            abandon(context.run_id, context.step)
        raise OSError

    run = world.run(single(work, retry=Retry(3)), advance=True)
    assert attempts(run, "work") == [(1, "failed"), (2, "abandoned"), (3, "failed")]
    assert run.status == "failed"


def test_lost_attempt_is_retried_with_the_backoff_of_the_policy(world, clock):
    retry = Retry(2, exponential(30, 300))
    run = world.run(single(dying(1), retry=retry))
    clock.advance(seconds=60)
    tick()
    clock.advance(seconds=29)
    assert (run_until_idle(), deliver(run.id, "work")) == (0, "not_due")
    clock.advance(seconds=1)
    assert world.go(run.id).status == "completed"


def test_policy_without_attempts_left_fails_with_worker_lost(world, clock):
    run = world.run(single(dying(5), retry=Retry(2)), advance=True)
    assert run.last_error is not None
    assert (run.status, run.last_error["code"]) == ("failed", "worker_lost")
    assert attempts(run, "work") == [(1, "abandoned"), (2, "abandoned")]


@pytest.mark.parametrize("retry", [None, Retry(5)])
def test_at_most_once_fails_instead_of_running_again(world, clock, retry):
    run = world.run(single(dying(1), retry=retry, at_most_once=True), advance=True)
    assert run.last_error is not None
    assert (run.status, run.last_error["code"]) == ("failed", "worker_lost")
    assert attempts(run, "work") == [(1, "abandoned")]


def test_loss_of_the_last_attempt_takes_the_error_route(world, clock, seen):
    class Routed(Workflow):
        go = manual()
        work = step(dying(1), at_most_once=True)
        repair = step(lambda context: seen.append(context.failure["code"]))
        transitions = [work >> complete, work.on_error(repair), repair >> complete]

    run = world.run(Routed, advance=True)
    assert (run.status, run.last_error, seen) == ("completed", None, ["worker_lost"])


def test_loss_of_a_step_that_leads_to_itself_is_another_visit(world, clock):
    def die_once(context):
        if context.idempotency_key.endswith(":1"):
            abandon(context.run_id, context.step)

    class Again(Workflow):
        go = manual()
        work = step(die_once, at_most_once=True)
        transitions = [work >> complete, work.on_error(work)]

    run = world.run(Again, advance=True)
    assert (run.status, path(run)) == ("completed", ["work", "work"])


def test_lease_renewed_after_the_ticker_looked_and_before_it_acted_is_kept(world, clock, seen):
    def work(context):
        clock.advance(seconds=60)

        def renew_first(_connection, _cursor, text, *_):
            if "run_states" in text and not seen:
                seen.append("the ticker is about to lock the run")
                seen.append(context.heartbeat())

        sa.event.listen(db.engine, "before_cursor_execute", renew_first)
        seen_by_ticker = tick()
        sa.event.remove(db.engine, "before_cursor_execute", renew_first)
        assert seen_by_ticker.expired == 0
        return {"kept": True}

    run = world.run(single(work))
    assert seen == ["the ticker is about to lock the run", True]
    assert (run.status, run.context, attempts(run, "work")) == (
        "completed",
        {"kept": True},
        [(1, "completed")],
    )


# Stale steps.


def test_redelivered_message_reclaims_a_step_that_is_stale(open_world):
    world = open_world(SQUIDMESH_STALE_STEP_TIMEOUT=10)
    with freeze() as clock:
        run = world.run(single(dying(1)))
        clock.advance(seconds=9)
        assert deliver(run.id, "work") == "already_running"
        clock.advance(seconds=1)
        assert deliver(run.id, "work") == "executed"
        run = world.see(run.id)
        assert (run.status, notes()) == ("completed", ["attempt 2"])
        assert attempts(run, "work") == [(1, "abandoned"), (2, "completed")]


def test_stale_timeout_of_zero_always_reclaims(open_world):
    world = open_world(SQUIDMESH_STALE_STEP_TIMEOUT=0)
    run = world.run(single(dying(1)))
    assert deliver(run.id, "work") == "executed"
    assert world.see(run.id).status == "completed"


def test_stale_step_under_a_policy_waits_for_its_retry(open_world):
    world = open_world(SQUIDMESH_STALE_STEP_TIMEOUT=0)
    with freeze() as clock:
        run = world.run(single(dying(1), retry=Retry(2, fixed(5))))
        assert deliver(run.id, "work") == "not_due"
        assert world.see(run.id).status == "retrying"
        clock.advance(seconds=5)
        assert deliver(run.id, "work") == "executed"
        assert world.see(run.id).status == "completed"


def test_heartbeat_keeps_a_step_from_being_stale(open_world, seen):
    world = open_world(SQUIDMESH_STALE_STEP_TIMEOUT=10)
    with freeze() as clock:

        def work(context):
            clock.advance(seconds=9)
            context.heartbeat()
            clock.advance(seconds=9)
            seen.append(deliver(context.run_id, "work"))

        world.run(single(work))
        assert seen == ["already_running"]


# Zombies: attempts that go on after they were taken over.


def overtaken(clock, seen, then):
    """Return a step function whose first attempt is taken over, and finished, while it runs."""

    def work(context):
        if context.attempt > 1:
            write("successor")
            return {"by": "successor"}
        clock.advance(seconds=60)
        tick()
        seen.append(deliver(context.run_id, context.step))
        seen.append((context.cancelled, context.heartbeat()))
        return then()

    return work


def lose():
    raise OSError("too late")


def leave():
    write("zombie")
    db.session.flush()
    return {"by": "zombie"}


@pytest.mark.parametrize("then", [leave, lose, lambda: {"by": "zombie"}, lambda: {"bad": {1}}])
@pytest.mark.parametrize("retry", [None, Retry(5)])
def test_attempt_that_was_taken_over_changes_nothing(world, clock, seen, then, retry):
    class Taken(Workflow):
        go = manual()
        work = step(overtaken(clock, seen, then), retry=retry)
        after = step(lambda: {"after": True})
        transitions = [work >> after >> complete]

    run_id = world.start(Taken)
    execute_next()
    run = world.see(run_id)
    assert seen == ["executed", (False, False)]
    assert (run.status, run.current_step, run.context) == ("running", "after", {"by": "successor"})
    assert attempts(run, "work") == [(1, "abandoned"), (2, "completed")]
    assert notes() == ["successor"]
    assert world.go(run_id).context == {"by": "successor", "after": True}


def test_attempt_that_was_abandoned_and_not_yet_claimed_again_changes_nothing(world, clock):
    def work(context):
        if context.attempt == 1:
            clock.advance(seconds=60)
            tick()
            write("zombie")
        return {"attempt": context.attempt}

    run_id = world.start(single(work))
    execute_next()
    run = world.see(run_id)
    assert (run.status, run.context, notes()) == ("retrying", {}, [])
    assert world.go(run_id).context == {"attempt": 2}


def test_attempt_that_was_taken_over_cannot_end_the_one_that_runs_now(world, clock):
    def work(context):
        write(f"attempt {context.attempt}")
        if context.attempt == 1:
            db.session.rollback()
            clock.advance(seconds=60)
            tick()
            # The successor's worker vanishes, so that its row still says running.
            deliver(context.run_id, context.step)
            write("zombie")
        elif context.attempt == 2:
            abandon(context.run_id, context.step)
        return {"by": context.attempt}

    run_id = world.start(single(work))
    execute_next()
    run = world.see(run_id)
    assert (run.status, run.context, notes()) == ("running", {}, [])
    assert attempts(run, "work") == [(1, "abandoned"), (2, "running")]
    run = world.go(run_id, advance=True)
    assert (run.status, run.context, notes()) == ("completed", {"by": 3}, ["attempt 3"])


def test_attempt_whose_run_was_finished_by_another_changes_nothing(world, clock, seen):
    run = world.run(single(overtaken(clock, seen, leave)))
    assert (run.status, run.context, notes()) == ("completed", {"by": "successor"}, ["successor"])
    assert len(run.step_runs) == 1


def test_attempt_whose_lease_ran_out_may_settle_until_it_is_taken_over(world, clock):
    def work():
        clock.advance(seconds=3600)
        write("late but mine")
        return {"done": True}

    run = world.run(single(work))
    assert (run.status, run.context, notes()) == ("completed", {"done": True}, ["late but mine"])
    assert attempts(run, "work") == [(1, "completed")]


def test_zombie_of_a_loop_does_not_touch_the_next_visit(world, clock):
    def work(context, visits=0):
        if context.attempt == 1 and visits == 0:
            clock.advance(seconds=60)
            tick()
            # Another worker finishes this visit, and stands at the next one.
            assert [deliver(context.run_id, name) for name in ("work", "turn")] == ["executed"] * 2
            return {"by": "zombie"}
        return {"visits": visits + 1}

    def turn_back(visits):
        if visits > 1:
            raise OSError

    def flow(do):
        class Looping(Workflow):
            go = manual()
            work = step(do)
            turn = step(turn_back)
            transitions = [work >> turn >> work, turn.on_error(complete)]

        return Looping

    run = world.run(flow(work))
    assert (run.status, run.context) == ("completed", {"visits": 2})


def test_zombie_in_another_thread_changes_nothing(world, clock):
    started, go_on = threading.Event(), threading.Event()

    def work(context):
        if context.attempt == 1:
            started.set()
            assert go_on.wait(30)
            write("zombie")
        else:
            write("successor")
        return {"attempt": context.attempt}

    run_id = world.start(single(work))

    def other_worker():
        with world.app.app_context():
            deliver(run_id, "work")

    thread = threading.Thread(target=other_worker)
    thread.start()
    assert started.wait(30)
    clock.advance(seconds=60)
    assert tick().expired == 1
    run = world.go(run_id)
    go_on.set()
    thread.join(30)
    assert world.see(run_id) == run
    assert (run.status, run.context, notes()) == ("completed", {"attempt": 2}, ["successor"])


def test_message_for_a_step_that_runs_elsewhere_does_nothing(world, seen):
    def work(context):
        seen.append(deliver(context.run_id, context.step))
        seen.append(run_until_idle())

    run = world.run(single(work))
    assert (seen, run.status) == (["already_running", 0], "completed")
    assert step_run(run, "work").status == "completed"

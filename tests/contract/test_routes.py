"""Where a run goes: transitions, error routes, loops, timers."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_squidmesh import (
    Retry,
    Workflow,
    complete,
    fixed,
    log,
    manual,
    step,
    transition,
    wait,
)
from flask_squidmesh.testing import deliver, run_until_idle
from tests.contract.host import attempts, path, single, step_run, step_state


def fail():
    raise OSError("down")


def test_straight_path_runs_in_order_and_completes(world, seen, clock):
    class Straight(Workflow):
        go = manual()
        first = step(lambda: seen.append(1))
        second = step(lambda: seen.append(2))
        third = step(lambda: seen.append(3))
        transitions = [first >> second >> third >> complete]

    run = world.run(Straight)
    assert seen == [1, 2, 3]
    assert path(run) == ["first", "second", "third"]
    assert (run.status, run.current_step, run.finished_at) == ("completed", None, clock.now)


def test_declaration_order_does_not_decide(world):
    class Mixed(Workflow):
        go = manual()
        last = step(lambda: None)
        first = step(lambda: None)
        transitions = [first >> last >> complete]

    assert path(world.run(Mixed)) == ["first", "last"]


def test_explicit_form_is_the_same_as_the_arrows(world):
    class Explicit(Workflow):
        go = manual()
        work = step(fail)
        repair = step(lambda: None)
        transitions = [
            transition(work, on="ok", to=complete),
            transition(work, on="error", to=repair),
            transition(repair, on="ok", to=complete),
        ]

    run = world.run(Explicit)
    assert (run.status, path(run)) == ("completed", ["work", "repair"])


def test_failure_without_an_error_route_fails_the_run(world):
    class Failing(Workflow):
        go = manual()
        work = step(fail)
        after = step(lambda: None)
        transitions = [work >> after >> complete]

    run = world.run(Failing)
    assert (run.status, run.current_step, path(run)) == ("failed", "work", ["work"])
    assert run.last_error is not None
    assert (run.last_error["step"], run.last_error["message"]) == ("work", "down")
    assert step_state(run, "after").status == "not_started"


def test_error_route_may_lead_to_the_end(world):
    class Shrugging(Workflow):
        go = manual()
        work = step(fail)
        transitions = [work >> complete, work.on_error(complete)]

    run = world.run(Shrugging)
    assert (run.status, run.last_error) == ("completed", None)
    assert (step_run(run, "work").status, step_run(run, "work").outcome) == ("failed", "error")


def test_failure_is_known_on_the_error_route_and_only_there(world, seen):
    class Routed(Workflow):
        go = manual()
        work = step(fail)
        repair = step(lambda context: seen.append(context.failure))
        after = step(lambda context: seen.append(context.failure))
        transitions = [work >> complete, work.on_error(repair), repair >> after >> complete]

    run = world.run(Routed)
    assert seen == [
        {
            "code": "exception",
            "message": "down",
            "type": "builtins.OSError",
            "details": None,
            "retryable": True,
            "step": "work",
        },
        None,
    ]
    assert (run.status, run.last_error) == ("completed", None)


def test_failure_is_still_known_to_a_retry(world, clock, seen):
    def repair(context):
        seen.append(context.failure and context.failure["step"])
        if context.attempt == 1:
            raise OSError

    class Routed(Workflow):
        go = manual()
        work = step(fail)
        mend = step(repair, retry=Retry(2, fixed(1)))
        transitions = [work >> complete, work.on_error(mend), mend >> complete]

    assert world.run(Routed, advance=True).status == "completed"
    assert seen == ["work", "work"]


def test_failed_step_adds_nothing_to_the_context(world):
    class Routed(Workflow):
        go = manual()
        work = step(lambda: {"kept": {1}})
        repair = step(lambda: {"repaired": True})
        transitions = [work >> complete, work.on_error(repair), repair >> complete]

    assert world.run(Routed).context == {"repaired": True}


# Loops.


def polling(times, **options):
    """Return a workflow that asks, and asks again, until the answer comes."""

    def ask(count=0):
        if count + 1 < times:
            raise OSError("not yet")
        return {"answer": count + 1}

    class Polling(Workflow):
        go = manual()
        ask_again = step(ask, **options)
        note = step(lambda count=0: {"count": count + 1})
        done = step(lambda: None)
        transitions = [
            ask_again >> done >> complete,
            ask_again.on_error(note),
            note >> ask_again,
        ]

    return Polling


def test_each_visit_of_a_loop_is_a_new_step_run(world):
    run = world.run(polling(3))
    assert run.status == "completed"
    assert path(run) == ["ask_again", "note", "ask_again", "note", "ask_again", "done"]
    visits = [(s.visit, s.status, s.outcome) for s in run.step_runs if s.step == "ask_again"]
    assert visits == [(1, "failed", "error"), (2, "failed", "error"), (3, "completed", "ok")]
    assert [s.input for s in run.step_runs if s.step == "ask_again"] == [
        {},
        {"count": 1},
        {"count": 2},
    ]


def test_step_state_of_a_loop_is_that_of_the_latest_visit(world):
    state = step_state(world.run(polling(3)), "ask_again")
    assert (state.visit, state.status, state.output) == (3, "completed", {"answer": 3})
    assert [(each.number, each.status) for each in state.attempts] == [(1, "completed")]


def test_attempts_are_counted_anew_for_each_visit(world, clock):
    run = world.run(polling(2, retry=Retry(2, fixed(1))), advance=True)
    assert attempts(run, "ask_again", 1) == [(1, "failed"), (2, "failed")]
    assert attempts(run, "ask_again", 2) == [(1, "completed")]


def test_idempotency_keys_differ_by_visit(world, seen):
    class Twice(Workflow):
        go = manual()
        work = step(lambda context: seen.append(context.idempotency_key))
        leave = step(lambda: None)
        decide = step(lambda: None if len(seen) > 1 else fail())
        transitions = [work >> decide >> leave >> complete, decide.on_error(work)]

    world.run(Twice)
    assert len(seen) == len(set(seen)) == 2


def test_step_may_lead_to_itself(world):
    def count(n=0):
        if n == 3:
            raise OSError
        return {"n": n + 1}

    class Counting(Workflow):
        go = manual()
        work = step(count)
        transitions = [work >> work, work.on_error(complete)]

    run = world.run(Counting)
    assert (run.status, run.context, path(run)) == ("completed", {"n": 3}, ["work"] * 4)


def test_loop_without_a_way_out_fails_the_run_at_the_limit(open_world, seen):
    world = open_world(SQUIDMESH_MAX_STEP_VISITS=3)

    class Endless(Workflow):
        go = manual()
        ping = step(lambda: seen.append("ping"))
        pong = step(lambda: seen.append("pong"))
        transitions = [ping >> pong >> ping, pong.on_error(complete)]

    run = world.run(Endless)
    assert seen == ["ping", "pong"] * 3
    assert (run.status, run.current_step) == ("failed", "ping")
    assert run.last_error is not None
    assert (run.last_error["code"], run.last_error["step"]) == ("too_many_visits", "ping")
    assert step_run(run, "pong", 3).status == "completed"


@pytest.mark.parametrize(("visits", "status"), [(3, "completed"), (4, "failed")])
def test_step_may_be_entered_exactly_as_often_as_the_limit_says(open_world, visits, status):
    world = open_world(SQUIDMESH_MAX_STEP_VISITS=3)
    assert world.run(polling(visits)).status == status


# Waits.


def test_wait_holds_the_run_until_it_is_due(world, clock):
    class Waiting(Workflow):
        go = manual()
        work = step(lambda: None)
        settle = wait(seconds=5)
        after = step(lambda: None)
        transitions = [work >> settle >> after >> complete]

    run = world.run(Waiting)
    state = step_state(run, "settle")
    assert (run.status, run.current_step, state.status) == ("running", "settle", "waiting")
    assert state.due_at == clock.now + timedelta(seconds=5)
    clock.advance(seconds=4.999)
    assert (run_until_idle(), deliver(run.id, "settle")) == (0, "not_due")
    clock.advance(seconds=0.001)
    assert run_until_idle() == 2
    assert world.see(run.id).status == "completed"


def test_wait_records_one_attempt_from_its_beginning_to_its_end(world, clock):
    class Waiting(Workflow):
        go = manual()
        settle = wait(timedelta(minutes=1))
        transitions = [settle >> complete]

    run = world.run(Waiting)
    assert attempts(run, "settle") == [(1, "running")]
    begun = clock.now
    run = world.go(run.id, advance=True)
    assert attempts(run, "settle") == [(1, "completed")]
    (attempt,) = step_run(run, "settle").attempts
    assert (attempt.started_at, attempt.finished_at) == (begun, begun + timedelta(minutes=1))


def test_wait_begins_when_it_is_entered_and_not_when_the_run_started(world, clock):
    class Waiting(Workflow):
        go = manual()
        work = step(lambda: None)
        settle = wait(seconds=5)
        transitions = [work >> settle >> complete]

    run_id = world.start(Waiting)
    clock.advance(seconds=100)
    assert step_state(world.go(run_id), "settle").due_at == clock.now + timedelta(seconds=5)


def test_entry_step_may_be_a_wait(world, clock):
    class Waiting(Workflow):
        go = manual()
        settle = wait(seconds=5)
        transitions = [settle >> complete]

    run = world.run(Waiting)
    assert (run.status, step_state(run, "settle").status) == ("running", "waiting")
    assert world.go(run.id, advance=True).status == "completed"


def test_same_moment_is_worked_off_fairly_by_runs(world, clock, seen):
    class Straight(Workflow):
        go = manual()
        first = step(lambda: seen.append("first"))
        note = log("noted")
        second = step(lambda: seen.append("second"))
        transitions = [first >> note >> second >> complete]

    for _ in range(2):
        world.start(Straight)
    run_until_idle()
    assert seen == ["first", "first", "second", "second"]


@pytest.mark.parametrize("advance", [False, True])
def test_work_that_is_ready_needs_no_time(world, clock, advance):
    before = clock.now
    assert world.run(single(lambda: None), advance=advance).status == "completed"
    assert clock.now == before

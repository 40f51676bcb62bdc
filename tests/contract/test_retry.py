"""Retries: how often, after how long, and what ends them."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from flask_squidmesh import (
    Retry,
    RetryStep,
    StepFailed,
    Workflow,
    complete,
    exponential,
    fixed,
    manual,
    step,
)
from flask_squidmesh.testing import deliver, run_until_idle
from tests.contract.host import attempts, path, single, step_run, step_state


def failing(error):
    def fail():
        raise error

    return fail


def starts(run, name="work"):
    """Return after how many seconds each attempt started."""
    first = step_run(run, name).attempts[0].started_at
    return [(each.started_at - first).total_seconds() for each in step_run(run, name).attempts]


def gaps(run):
    moments = starts(run)
    return [later - earlier for earlier, later in pairwise(moments)]


def test_backoff_of_the_specification_is_1_2_4_5_then_exhausted(world, clock):
    retry = Retry(max_attempts=5, backoff=exponential(minimum=1, maximum=5))
    run = world.run(single(failing(OSError("down")), retry=retry), advance=True)
    assert gaps(run) == [1, 2, 4, 5]
    assert attempts(run, "work") == [(n, "failed") for n in (1, 2, 3, 4, 5)]
    assert run.status == "failed"


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (None, [0, 0, 0]),
        (fixed(3), [3, 3, 3]),
        (exponential(2, 100, factor=3), [2, 6, 18]),
        (exponential(1, 1), [1, 1, 1]),
        (exponential(0.5, 60), [0.5, 1, 2]),
    ],
)
def test_delay_after_each_attempt_follows_the_backoff(world, clock, backoff, expected):
    run = world.run(single(failing(OSError()), retry=Retry(4, backoff)), advance=True)
    assert gaps(run) == expected


def test_jitter_only_shortens_the_delay(world, clock):
    backoff = exponential(10, 10, jitter=0.5)
    run = world.run(single(failing(OSError()), retry=Retry(6, backoff)), advance=True)
    assert len(gaps(run)) == 5
    assert all(5 <= gap <= 10 for gap in gaps(run))


def test_step_without_a_policy_is_tried_once(world):
    run = world.run(single(failing(OSError("down"))))
    assert (run.status, attempts(run, "work")) == ("failed", [(1, "failed")])


def test_max_attempts_counts_the_first_try(world, seen):
    world.run(single(lambda: seen.append(1) or failing(OSError())(), retry=Retry(1)))
    assert seen == [1]


def test_success_ends_the_retries(world, clock):
    def succeed_at_last(context):
        if context.attempt < 3:
            raise OSError
        return {"attempt": context.attempt}

    flow = single(succeed_at_last, retry=Retry(5, fixed(1)))
    run = world.run(flow, advance=True)
    assert (run.status, run.context, run.last_error) == ("completed", {"attempt": 3}, None)
    assert attempts(run, "work") == [(1, "failed"), (2, "failed"), (3, "completed")]


def test_run_is_retrying_with_the_error_until_the_next_attempt(world, clock):
    run = world.run(single(failing(OSError("down")), retry=Retry(2, fixed(30))))
    expected = {
        "code": "exception",
        "message": "down",
        "type": "builtins.OSError",
        "details": None,
        "retryable": True,
    }
    assert (run.status, run.current_step) == ("retrying", "work")
    assert run.last_error == {**expected, "step": "work"}
    state = step_state(run, "work")
    assert (state.status, state.last_error) == ("retrying", expected)
    assert state.due_at == clock.now + timedelta(seconds=30)
    assert attempts(run, "work") == [(1, "failed")]


def test_retry_is_not_taken_before_its_time(world, clock):
    run = world.run(single(failing(OSError()), retry=Retry(2, fixed(30))))
    clock.advance(seconds=29.999)
    assert (run_until_idle(), deliver(run.id, "work")) == (0, "not_due")
    clock.advance(seconds=0.001)
    assert deliver(run.id, "work") == "executed"
    assert world.see(run.id).status == "failed"


def test_error_is_stored_with_code_message_type_details_and_retryable(world):
    run = world.run(single(failing(ValueError("no such account"))))
    assert step_state(run, "work").last_error == {
        "code": "exception",
        "message": "no such account",
        "type": "builtins.ValueError",
        "details": None,
        "retryable": True,
    }


def test_step_failed_is_final_whatever_the_policy_says(world):
    error = StepFailed("closed", code="account_closed", details={"account": "A1"})
    run = world.run(single(failing(error), retry=Retry(5)))
    assert (run.status, attempts(run, "work")) == ("failed", [(1, "failed")])
    assert step_state(run, "work").last_error == {
        "code": "account_closed",
        "message": "closed",
        "type": "flask_squidmesh.exceptions.StepFailed",
        "details": {"account": "A1"},
        "retryable": False,
    }


def test_step_failed_without_a_code_has_ours(world):
    error = step_state(world.run(single(failing(StepFailed("closed")))), "work").last_error
    assert error is not None
    assert (error["code"], error["details"]) == ("step_failed", None)


def test_details_that_are_not_json_do_not_lose_the_failure(world):
    run = world.run(single(failing(StepFailed("closed", details=object()))))
    error = step_state(run, "work").last_error
    assert error is not None
    assert (run.status, error["message"]) == ("failed", "closed")


def test_step_failed_takes_the_error_route_at_once(world):
    class Routed(Workflow):
        go = manual()
        work = step(failing(StepFailed("closed")), retry=Retry(5, fixed(60)))
        repair = step(lambda: None)
        transitions = [work >> complete, work.on_error(repair), repair >> complete]

    run = world.run(Routed)
    assert (run.status, path(run)) == ("completed", ["work", "repair"])


def test_retry_step_overrides_the_delay(world, clock):
    error = RetryStep("busy", delay=7)
    run = world.run(single(failing(error), retry=Retry(3, fixed(60))), advance=True)
    assert gaps(run) == [7, 7]


def test_retry_step_without_a_delay_keeps_the_backoff(world, clock):
    run = world.run(single(failing(RetryStep("busy")), retry=Retry(2, fixed(60))), advance=True)
    assert gaps(run) == [60]
    error = step_state(run, "work").last_error
    assert error is not None
    assert (error["code"], error["retryable"]) == ("retry_requested", True)


def test_retry_step_with_a_delay_of_zero_is_retried_at_once(world, clock):
    error = RetryStep("busy", delay=0)
    run = world.run(single(failing(error), retry=Retry(3, fixed(60))), advance=True)
    assert gaps(run) == [0, 0]


def test_retry_step_has_no_more_attempts_than_the_policy(world):
    run = world.run(single(failing(RetryStep("busy", delay=0)), retry=Retry(2)))
    assert (run.status, attempts(run, "work")) == ("failed", [(1, "failed"), (2, "failed")])


def test_retry_step_without_a_policy_fails_the_step(world):
    run = world.run(single(failing(RetryStep("busy"))))
    assert (run.status, attempts(run, "work")) == ("failed", [(1, "failed")])


def test_error_route_is_taken_only_when_no_attempt_is_left(world, clock, seen):
    class Routed(Workflow):
        go = manual()
        work = step(failing(OSError("down")), retry=Retry(2, fixed(10)))
        repair = step(lambda: seen.append("repair"))
        transitions = [work >> complete, work.on_error(repair), repair >> complete]

    run = world.run(Routed)
    assert (run.status, seen) == ("retrying", [])
    run = world.go(run.id, advance=True)
    assert (run.status, run.last_error, seen) == ("completed", None, ["repair"])


def test_input_is_the_same_for_every_retry(world, clock, seen):
    counter = iter(range(100))

    class Fed(Workflow):
        go = manual()
        feed = step(lambda: {"n": next(counter)})
        work = step(lambda n: seen.append(n) or failing(OSError())(), retry=Retry(3, fixed(1)))
        transitions = [feed >> work >> complete]

    world.run(Fed, advance=True)
    assert seen == [0, 0, 0]


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), Exception(), KeyError("x")])
def test_whatever_is_raised_is_a_failure(world, error):
    run = world.run(single(failing(error)))
    found = step_state(run, "work").last_error
    assert found is not None
    assert run.status == "failed"
    assert found["type"] == f"builtins.{type(error).__name__}"
    assert found["message"]


def test_exception_whose_text_fails_is_a_failure(world):
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    assert world.run(single(failing(Unprintable()))).status == "failed"


def test_local_values_are_nowhere_in_the_error(world, caplog):
    def fail():
        secret = "hunter" + "2"
        raise ValueError(f"wrong password of {len(secret)} characters")

    run = world.run(single(fail))
    assert run.status == "failed"
    assert "hunter2" not in str(run.to_dict()) + caplog.text


def test_traceback_goes_to_the_log(world, caplog):
    world.run(single(failing(ValueError("no such account"))))
    assert "Traceback" in caplog.text
    assert "no such account" in caplog.text

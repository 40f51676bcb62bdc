"""Dependency workflows: who starts when, what it sees, and what one failure means for all."""

from __future__ import annotations

import types
from typing import Any, cast

import pytest

from flask_squidmesh import Retry, Workflow, fixed, manual, step, wait
from flask_squidmesh.testing import deliver, execute_next, run_until_idle
from tests.contract.host import attempts, path, step_run, step_state


def fail():
    raise OSError("down")


def noting(seen, name):
    """Return a step function that notes its name and returns it as an output."""

    def work():
        seen.append(name)
        return {name: name}

    return work


@pytest.fixture
def diamond(seen):
    class Diamond(Workflow):
        go = manual()
        load = step(noting(seen, "load"))
        left = step(noting(seen, "left"), after=[load])
        right = step(noting(seen, "right"), after=[load])
        join = step(lambda **inputs: seen.append(sorted(inputs)), after=[left, "right"])

    return Diamond


def statuses(run):
    return {state.step: state.status for state in run.steps}


def test_join_runs_once_after_all_its_dependencies(world, diamond, seen):
    run = world.run(diamond)
    assert (run.status, run.current_step) == ("completed", None)
    assert seen == ["load", "left", "right", ["left", "load", "right"]]
    assert run.context == {"load": "load", "left": "left", "right": "right"}
    assert path(run) == ["load", "left", "right", "join"]


def test_roots_start_together(world, seen):
    class Roots(Workflow):
        go = manual()
        one = step(noting(seen, "one"))
        two = step(noting(seen, "two"))
        join = step(noting(seen, "join"), after=[one, two])

    run_id = world.start(Roots)
    assert statuses(world.see(run_id)) == {
        "one": "pending",
        "two": "pending",
        "join": "not_started",
    }
    assert deliver(run_id, "two") == "executed"
    assert deliver(run_id, "one") == "executed"
    assert world.go(run_id).status == "completed"
    assert seen == ["two", "one", "join"]


def test_step_starts_as_soon_as_its_own_dependencies_have_completed(world, seen, clock):
    class Unrelated(Workflow):
        go = manual()
        quick = step(noting(seen, "quick"))
        slow = wait(seconds=60)
        after_quick = step(noting(seen, "after_quick"), after=[quick])
        after_slow = step(noting(seen, "after_slow"), after=[slow])

    run = world.run(Unrelated)
    assert (run.status, seen) == ("running", ["quick", "after_quick"])
    assert statuses(run)["after_slow"] == "not_started"
    assert world.go(run.id, advance=True).status == "completed"


def test_run_completes_only_when_every_step_has(world, seen, clock):
    class Loose(Workflow):
        go = manual()
        first = step(noting(seen, "first"), after=["timer"])
        timer = wait(seconds=1)
        alone = step(noting(seen, "alone"))
        after_alone = step(noting(seen, "after_alone"), after=[alone])

    run = world.run(Loose)
    assert run.status == "running"
    run = world.go(run.id, advance=True)
    assert (run.status, set(statuses(run).values())) == ("completed", {"completed"})


def test_join_that_is_not_ready_has_no_step_run(world, diamond):
    run_id = world.start(diamond)
    execute_next()
    run = world.see(run_id)
    assert path(run) == ["load", "left", "right"]
    assert statuses(run)["join"] == "not_started"
    assert step_state(run, "join").depends_on == ("left", "right")
    assert deliver(run_id, "join") == "not_ready"


def test_join_counts_down_whatever_the_order(world, diamond, seen):
    run_id = world.start(diamond)
    for name in ("load", "right"):
        deliver(run_id, name)
    assert statuses(world.see(run_id))["join"] == "not_started"
    deliver(run_id, "left")
    assert statuses(world.see(run_id))["join"] == "pending"
    deliver(run_id, "left")
    deliver(run_id, "right")
    assert world.go(run_id).status == "completed"
    assert seen == ["load", "right", "left", ["left", "load", "right"]]


def test_wide_fan_out_joins(world, seen):
    def work():
        seen.append(1)

    body: dict[str, Any] = {"go": manual(), "root": step(lambda: None)}
    names = [f"branch_{number}" for number in range(60)]
    body.update({name: step(work, after=["root"]) for name in names})
    body["join"] = step(lambda: seen.append("join"), after=names)
    wide = cast(
        type[Workflow], types.new_class("Wide", (Workflow,), {}, lambda ns: ns.update(body))
    )
    run = world.run(wide)
    assert (run.status, len(run.step_runs), seen[-1], len(seen)) == ("completed", 62, "join", 61)


# Failures.


def test_terminal_failure_fails_the_run_at_once_and_nothing_new_starts(world, seen):
    class Failing(Workflow):
        go = manual()
        bad = step(fail)
        good = step(noting(seen, "good"))
        after_good = step(noting(seen, "after_good"), after=[good])
        join = step(noting(seen, "join"), after=[bad, good])

    run_id = world.start(Failing)
    assert deliver(run_id, "bad") == "executed"
    run = world.see(run_id)
    assert (run.status, run.current_step) == ("failed", "bad")
    assert run.last_error is not None
    assert (run.last_error["step"], run.last_error["message"]) == ("bad", "down")
    assert statuses(run) == {
        "bad": "failed",
        "good": "cancelled",
        "after_good": "not_started",
        "join": "not_started",
    }
    assert (run_until_idle(), seen) == (0, [])
    assert deliver(run_id, "good") in {"finished", "run_not_active"}


@pytest.mark.parametrize("sibling_fails", [False, True])
def test_sibling_in_flight_finishes_and_is_recorded_but_adds_nothing(world, seen, sibling_fails):
    def sibling(context):
        deliver(context.run_id, "bad")
        seen.append(world.see(context.run_id).status)
        return fail() if sibling_fails else {"kept": "on the step run"}

    class Failing(Workflow):
        go = manual()
        slow = step(sibling)
        bad = step(fail)
        join = step(lambda: seen.append("join"), after=[slow, bad])

    run = world.run(Failing)
    assert seen == ["failed"]
    assert (run.status, run.current_step, run.context) == ("failed", "bad", {})
    assert run.last_error is not None
    assert run.last_error["step"] == "bad"
    ended = step_run(run, "slow")
    if sibling_fails:
        assert (ended.status, attempts(run, "slow")) == ("failed", [(1, "failed")])
    else:
        assert (ended.status, ended.output) == ("completed", {"kept": "on the step run"})
        assert attempts(run, "slow") == [(1, "completed")]


def test_sibling_in_flight_is_not_retried_after_the_run_has_failed(world, clock):
    def sibling(context):
        deliver(context.run_id, "bad")
        fail()

    class Failing(Workflow):
        go = manual()
        slow = step(sibling, retry=Retry(5))
        bad = step(fail)
        join = step(lambda: None, after=[slow, bad])

    run = world.run(Failing, advance=True)
    assert (run.status, attempts(run, "slow")) == ("failed", [(1, "failed")])


# Retries and the run's status.


def flaky(times):
    """Return a step function that fails its first attempts."""

    def work(context):
        if context.attempt <= times:
            raise OSError(f"{context.step} down")

    return work


def test_run_is_retrying_only_while_nothing_else_moves(world, clock):
    class Mixed(Workflow):
        go = manual()
        shaky = step(flaky(1), retry=Retry(2, fixed(60)))
        other = wait(seconds=10)
        join = step(lambda: None, after=[shaky, other])

    run = world.run(Mixed)
    assert (run.status, run.last_error) == ("running", None)
    clock.advance(seconds=10)
    run = world.go(run.id)
    assert (run.status, run.current_step) == ("retrying", None)
    assert run.last_error is not None
    assert (run.last_error["step"], run.last_error["message"]) == ("shaky", "shaky down")
    run = world.go(run.id, advance=True)
    assert (run.status, run.last_error) == ("completed", None)


def test_last_error_while_retrying_is_that_of_a_step_that_is_retried(world, clock):
    class Mixed(Workflow):
        go = manual()
        first = step(flaky(1), retry=Retry(2, fixed(60)))
        second = step(flaky(1), retry=Retry(2, fixed(1)))
        join = step(lambda: None, after=[first, second])

    run = world.run(Mixed)
    assert run.status == "retrying"
    clock.advance(seconds=1)
    run = world.go(run.id)
    assert (run.status, statuses(run)["second"]) == ("retrying", "completed")
    assert run.last_error is not None
    assert run.last_error["step"] == "first"


def test_several_branches_may_retry_and_the_run_completes(world, clock):
    class Mixed(Workflow):
        go = manual()
        first = step(flaky(2), retry=Retry(3, fixed(3)))
        second = step(flaky(1), retry=Retry(3, fixed(5)))
        join = step(lambda: None, after=[first, second])

    run = world.run(Mixed, advance=True)
    assert run.status == "completed"
    assert attempts(run, "first") == [(1, "failed"), (2, "failed"), (3, "completed")]
    assert attempts(run, "second") == [(1, "failed"), (2, "completed")]


def test_input_is_built_when_the_step_becomes_ready_and_kept_for_every_retry(world, clock, seen):
    def work(context, late="absent", early="absent"):
        seen.append((early, late))
        if context.attempt == 1:
            raise OSError

    class Fixed(Workflow):
        go = manual()
        early_step = step(lambda: {"early": "there"})
        timer = wait(seconds=10)
        late_step = step(lambda: {"late": "there"}, after=[timer])
        worker = step(work, after=[early_step], retry=Retry(2, fixed(60)))

    run = world.run(Fixed, advance=True)
    assert run.status == "completed"
    assert seen == [("there", "absent"), ("there", "absent")]
    assert step_run(run, "worker").input == {"early": "there"}
    assert run.context == {"early": "there", "late": "there"}


def test_outputs_enter_the_context_in_the_order_of_completion(world):
    class Race(Workflow):
        go = manual()
        one = step(lambda: {"winner": "one"})
        two = step(lambda: {"winner": "two"})
        join = step(lambda: None, after=[one, two])

    run_id = world.start(Race)
    deliver(run_id, "two")
    deliver(run_id, "one")
    assert world.see(run_id).context == {"winner": "one"}


def test_dependency_workflow_needs_no_transitions_and_has_no_current_step(world, diamond):
    run_id = world.start(diamond)
    assert diamond.definition.mode == "dependency"
    assert world.see(run_id).current_step is None
    execute_next()
    assert world.see(run_id).current_step is None

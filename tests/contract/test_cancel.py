"""Cancelling a run, in every state it can be in."""

from __future__ import annotations

import pytest

from flask_squidmesh import (
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    Retry,
    RunNotFound,
    Workflow,
    approval,
    complete,
    fixed,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import abandon, deliver, run_until_idle, tick
from tests.contract.host import attempts, audit, notes, path, single, step_run, step_state, write


def fail():
    raise OSError("down")


def idle(kind):
    """Return a workflow whose first step holds the run in the way *kind* says."""

    class Idle(Workflow):
        go = manual()
        held = {
            "pending": step(lambda: None),
            "waiting": wait(seconds=60),
            "retrying": step(fail, retry=Retry(2, fixed(60))),
            "pause": pause(),
        }[kind]
        after = step(lambda: None)
        transitions = [held >> after >> complete]

    return Idle


@pytest.mark.parametrize("kind", ["pending", "waiting", "retrying", "pause"])
def test_run_in_which_nothing_executes_is_cancelled_at_once(world, clock, kind):
    run_id = world.start(idle(kind))
    if kind != "pending":
        run_until_idle()
    cancelled = world.squidmesh.cancel_run(run_id, actor="ada", comment="wrong account")
    assert (cancelled.status, cancelled.current_step) == ("cancelled", None)
    assert (cancelled.last_error, cancelled.finished_at) == (None, clock.now)
    run = world.see(run_id)
    assert step_state(run, "held").status == "cancelled"
    assert step_state(run, "after").status == "not_started"
    (event,) = [event for event in run.audit_events if event.type == "cancelled"]
    assert (event.step, event.actor, event.comment) == ("held", "ada", "wrong account")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("pending", []),
        ("waiting", [(1, "cancelled")]),
        ("retrying", [(1, "failed")]),
        ("pause", [(1, "cancelled")]),
    ],
)
def test_attempt_that_had_begun_is_cancelled_with_its_step(world, clock, kind, expected):
    run_id = world.start(idle(kind))
    if kind != "pending":
        run_until_idle()
    world.squidmesh.cancel_run(run_id)
    assert attempts(world.see(run_id), "held") == expected


def test_cancelled_approval_keeps_its_events(world):
    class Asked(Workflow):
        go = manual()
        review = approval()
        transitions = [review >> complete, review.on_error(complete)]

    run = world.run(Asked)
    world.squidmesh.cancel_run(run.id)
    run = world.see(run.id)
    assert (run.status, attempts(run, "review")) == ("cancelled", [(1, "cancelled")])
    assert audit(run) == [("paused", "review"), ("cancelled", "review")]


@pytest.mark.parametrize("kind", ["pending", "waiting", "retrying", "pause"])
def test_nothing_of_a_cancelled_run_is_executed_any_more(world, clock, kind):
    run_id = world.start(idle(kind))
    run_until_idle()
    if world.see(run_id).status == "completed":
        run_id = world.squidmesh.start_run("idle").id
    world.squidmesh.cancel_run(run_id)
    before = world.see(run_id)
    clock.advance(seconds=1000)
    assert (tick().due, run_until_idle(advance=True)) == (0, 0)
    assert deliver(run_id, "held") in {"finished", "run_not_active"}
    assert deliver(run_id, "after") == "run_not_active"
    assert world.see(run_id) == before


def cancelling(world, seen, then=lambda: None, **options):
    """Return a workflow whose step cancels its own run, as somebody else may at that moment."""

    def work(context):
        seen.append(world.squidmesh.cancel_run(context.run_id, actor="ada").status)
        seen.append(world.see(context.run_id).status)
        return then()

    class Cancelling(Workflow):
        go = manual()
        work_on = step(work, **options)
        after = step(lambda: seen.append("after"))
        repair = step(lambda: seen.append("repair"))
        transitions = [work_on >> after >> complete, work_on.on_error(repair) >> complete]

    return Cancelling


def test_executing_step_makes_the_run_cancelling_and_its_end_cancelled(world, seen):
    run = world.run(cancelling(world, seen, lambda: {"kept": "nowhere"}))
    assert seen == ["cancelling", "cancelling"]
    assert (run.status, run.current_step, path(run)) == ("cancelled", None, ["work_on"])
    assert audit(run) == [("cancelled", "work_on")]


def test_result_of_a_step_cancelled_meanwhile_is_recorded_and_not_routed(world, seen):
    run = world.run(cancelling(world, seen, lambda: {"kept": "on the step run"}))
    ended = step_run(run, "work_on")
    assert (ended.status, ended.outcome) == ("completed", None)
    assert ended.output == {"kept": "on the step run"}
    assert attempts(run, "work_on") == [(1, "completed")]
    assert run.context == {}


def test_writes_of_a_step_cancelled_meanwhile_are_kept(world, seen):
    world.run(cancelling(world, seen, lambda: write("done")))
    assert notes() == ["done"]


def test_failure_of_a_step_cancelled_meanwhile_is_neither_retried_nor_routed(world, seen):
    run = world.run(cancelling(world, seen, fail, retry=Retry(5)))
    assert (run.status, run.last_error) == ("cancelled", None)
    assert seen == ["cancelling", "cancelling"]
    assert step_run(run, "work_on").status == "failed"
    assert attempts(run, "work_on") == [(1, "failed")]


def test_run_is_cancelled_when_the_worker_of_its_step_dies(world, clock, seen):
    def cancel_and_die(context):
        world.squidmesh.cancel_run(context.run_id)
        abandon(context.run_id, context.step)

    run = world.run(single(cancel_and_die))
    assert (run.status, run.current_step) == ("cancelling", "work")
    clock.advance(seconds=59)
    assert (tick().expired, world.see(run.id).status) == (0, "cancelling")
    clock.advance(seconds=1)
    assert tick().expired == 1
    run = world.see(run.id)
    assert (run.status, step_run(run, "work").status) == ("cancelled", "cancelled")
    assert attempts(run, "work") == [(1, "abandoned")]


def test_run_that_is_being_cancelled_cannot_be_cancelled_again(world, seen):
    def cancel_twice(context):
        world.squidmesh.cancel_run(context.run_id)
        with pytest.raises(InvalidTransition) as refused:
            world.squidmesh.cancel_run(context.run_id)
        seen.append((refused.value.current, refused.value.requested))

    world.run(single(cancel_twice))
    assert seen == [("cancelling", "cancel")]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_run_that_is_over_cannot_be_cancelled(world, status):
    run_id = world.start(single(fail if status == "failed" else lambda: None))
    if status == "cancelled":
        world.squidmesh.cancel_run(run_id)
    run_until_idle()
    before = world.see(run_id)
    assert before.status == status
    with pytest.raises(InvalidTransition) as refused:
        world.squidmesh.cancel_run(run_id)
    assert (refused.value.current, refused.value.requested) == (status, "cancel")
    assert world.see(run_id) == before


def test_cancel_needs_no_actor(world):
    run_id = world.start(single(lambda: None))
    world.squidmesh.cancel_run(run_id)
    (event,) = world.see(run_id).audit_events
    assert (event.actor, event.comment, event.metadata) == (None, None, None)


def test_cancel_checks_what_is_said(world):
    run_id = world.start(single(lambda: None))
    with pytest.raises(InvalidDecision) as refused:
        world.squidmesh.cancel_run(run_id, actor={}, comment=" ")
    assert set(refused.value.errors) == {"actor", "comment"}
    assert world.see(run_id).status == "pending"


def test_cancel_of_no_run_is_refused(world):
    with pytest.raises(InvalidRunId):
        world.squidmesh.cancel_run("nonsense")
    with pytest.raises(RunNotFound):
        world.squidmesh.cancel_run(new_id())


# Dependency workflows.


def test_cancelled_fan_out_ends_every_branch(world, clock):
    class Fan(Workflow):
        go = manual()
        ready = step(lambda: None)
        timer = wait(seconds=60)
        flaky = step(fail, retry=Retry(2, fixed(60)))
        join = step(lambda: None, after=[ready, timer, flaky])

    run = world.run(Fan)
    assert run.status == "running"
    assert world.squidmesh.cancel_run(run.id).status == "cancelled"
    run = world.see(run.id)
    assert [(s.step, s.status) for s in run.steps] == [
        ("ready", "completed"),
        ("timer", "cancelled"),
        ("flaky", "cancelled"),
        ("join", "not_started"),
    ]
    assert audit(run) == [("cancelled", None)]
    assert run_until_idle(advance=True) == 0


def test_fan_out_with_an_executing_branch_is_cancelling_until_that_ends(world, seen):
    def work(context):
        seen.append(world.squidmesh.cancel_run(context.run_id).status)
        seen.append(step_state(world.see(context.run_id), "sibling").status)

    class Fan(Workflow):
        go = manual()
        worker = step(work)
        sibling = step(lambda: seen.append("sibling"))
        join = step(lambda: seen.append("join"), after=[worker, sibling])

    run = world.run(Fan)
    assert seen == ["cancelling", "cancelled"]
    assert (run.status, run.current_step) == ("cancelled", None)

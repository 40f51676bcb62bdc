"""`explain_run`: why a run is where it is, in the contract's words, and what can be done."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    InvalidRunId,
    InvalidTransition,
    Retry,
    RunNotFound,
    StepFailed,
    Workflow,
    WrongStepKind,
    approval,
    complete,
    fixed,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.engine.explain import ACTIONS
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import abandon, deliver, freeze, run_until_idle
from tests.contract.host import db, make_world, single, step_state

ERROR_KEYS = {"code", "message", "type", "details", "retryable"}


def fail():
    raise OSError("gateway down")


def refuse():
    raise StepFailed("card expired", code="card_expired")


def die(context):
    abandon(context.run_id, context.step)


def need(what):
    raise AssertionError("this is never called: nobody gives what it needs")


def explain(world, run_id):
    """Return an explanation, having seen that it is JSON-safe and names the run's own status."""
    explanation = world.squidmesh.explain_run(run_id)
    document = explanation.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {"status", "reason", "step", "details", "next_actions", "evidence"}
    assert explanation.status == world.see(run_id).status
    return explanation


def said(explanation):
    """Return everything but details and evidence."""
    return (
        explanation.status,
        explanation.reason,
        explanation.step,
        explanation.next_actions,
    )


class Review(Workflow):
    go = manual()
    review = approval(output="decision")
    ship = step(lambda: None)
    refund = step(lambda: None)
    transitions = [review >> ship >> complete, review.on_error(refund), refund >> complete]


class Held(Workflow):
    go = manual()
    hold = pause()
    transitions = [hold >> complete]


class Timer(Workflow):
    go = manual()
    rest = wait(seconds=300)
    transitions = [rest >> complete]


# Every row of the table.


def test_pending_dispatch(world):
    run_id = world.start(single(lambda: None))
    explanation = explain(world, run_id)
    assert said(explanation) == (
        "pending", "pending_dispatch", "work", ("wait_for_step", "cancel_run")
    )  # fmt: skip
    assert explanation.details == {}


def test_step_running(world, clock, seen):
    def work(context):
        clock.advance(seconds=7)
        seen.append(explain(world, context.run_id))

    started_at = clock.now
    run = world.run(single(work))
    (explanation,) = seen
    assert said(explanation) == (
        "running", "step_running", "work", ("wait_for_step", "cancel_run")
    )  # fmt: skip
    assert set(explanation.details) == {"worker", "attempt", "started_at", "lease_expires_at"}
    assert explanation.details["worker"] == run.step_runs[0].attempts[0].worker
    assert explanation.details["attempt"] == 1
    assert explanation.details["started_at"] == started_at
    assert (explanation.details["lease_expires_at"] - started_at).total_seconds() == 60


def test_worker_lost(world, clock):
    run = world.run(single(die))
    clock.advance(seconds=59.9)
    assert explain(world, run.id).reason == "step_running"
    clock.advance(seconds=0.1)
    explanation = explain(world, run.id)
    assert said(explanation) == (
        "running", "worker_lost", "work", ("wait_for_step", "cancel_run")
    )  # fmt: skip
    assert set(explanation.details) == {"worker", "attempt", "started_at", "lease_expires_at"}
    assert explanation.details["lease_expires_at"] == clock.now


def test_waiting_until(world, clock):
    run = world.run(Timer)
    explanation = explain(world, run.id)
    assert said(explanation) == (
        "running", "waiting_until", "rest", ("wait_for_step", "cancel_run")
    )  # fmt: skip
    assert set(explanation.details) == {"until"}
    assert (explanation.details["until"] - clock.now).total_seconds() == 300


def test_waiting_for_dependencies(world, clock):
    class Fan(Workflow):
        go = manual()
        slow = wait(seconds=300)
        quick = step(lambda: None)
        join = step(lambda: None, after=[slow, quick])

    run = world.run(Fan)
    explanation = explain(world, run.id)
    assert said(explanation)[:3] == ("running", "waiting_until", "slow")
    join = explanation.details["steps"][1]
    assert join == {
        "step": "join",
        "reason": "waiting_for_dependencies",
        "details": {"waiting_on": {"slow": "waiting"}},
    }


def test_waiting_for_dependencies_offers_to_wait_or_to_cancel():
    """A join never stands alone, so its row is only seen among others; here it is by itself."""
    assert ACTIONS["waiting_for_dependencies"] == ("wait_for_dependencies", "cancel_run")


def test_waiting_for_retry(world, clock):
    run = world.run(single(fail, retry=Retry(3, fixed(30))))
    explanation = explain(world, run.id)
    assert said(explanation) == (
        "retrying", "waiting_for_retry", "work", ("wait_for_retry", "cancel_run")
    )  # fmt: skip
    assert set(explanation.details) == {"next_attempt", "retry_at", "last_error"}
    assert explanation.details["next_attempt"] == 2
    assert (explanation.details["retry_at"] - clock.now).total_seconds() == 30
    assert set(explanation.details["last_error"]) == ERROR_KEYS
    assert explanation.details["last_error"]["message"] == "gateway down"


def test_paused_for_manual_action(world):
    run = world.run(Held)
    explanation = explain(world, run.id)
    assert said(explanation) == (
        "paused", "paused_for_manual_action", "hold", ("unblock_run", "cancel_run")
    )  # fmt: skip
    assert explanation.details == {"target": "complete"}


def test_paused_for_approval(world):
    run = world.run(Review)
    explanation = explain(world, run.id)
    assert said(explanation) == (
        "paused", "paused_for_approval", "review", ("approve_run", "reject_run", "cancel_run")
    )  # fmt: skip
    assert explanation.details == {"targets": {"ok": "ship", "error": "refund"}}


def test_definition_unavailable_without_the_workflow(world, url):
    run_id = world.start(single(lambda: None))
    with make_world(url) as other:
        explanation = explain(other, run_id)
        assert said(explanation) == (
            "pending", "definition_unavailable", "work", ("cancel_run",)
        )  # fmt: skip
        assert explanation.details == {"missing": "workflow"}


@pytest.mark.parametrize("function", [lambda: None, fail])
def test_definition_unavailable_without_the_step(world, url, clock, function):
    class Single(Workflow):
        go = manual()
        other = step(lambda: None)
        transitions = [other >> complete]

    run_id = world.start(single(function, retry=Retry(2, fixed(30))))
    status = "pending"
    if function is fail:
        status = world.go(run_id).status
    with make_world(url) as newer:
        newer.squidmesh.register(Single)
        explanation = explain(newer, run_id)
        assert said(explanation) == (status, "definition_unavailable", "work", ("cancel_run",))
        assert explanation.details == {"missing": "step"}


def test_retry_exhausted(world, clock):
    run = world.run(single(fail, retry=Retry(3)))
    explanation = explain(world, run.id)
    assert said(explanation) == ("failed", "retry_exhausted", "work", ("replay_run",))
    assert set(explanation.details) == {"max_attempts", "last_error"}
    assert explanation.details["max_attempts"] == 3
    assert explanation.details["last_error"] == run.last_error


@pytest.mark.parametrize(
    ("function", "options", "code"),
    [
        (fail, {}, "exception"),
        (refuse, {}, "card_expired"),
        (refuse, {"retry": Retry(3)}, "card_expired"),
        (die, {"retry": Retry(3), "at_most_once": True}, "worker_lost"),
        (need, {"retry": Retry(3)}, "missing_input"),
    ],
)
def test_step_failed(world, clock, function, options, code):
    run = world.run(single(function, **options), advance=True)
    explanation = explain(world, run.id)
    assert said(explanation) == ("failed", "step_failed", "work", ("replay_run",))
    assert explanation.details == {"last_error": run.last_error}
    assert (run.last_error["code"], run.last_error["step"]) == (code, "work")


def test_too_many_visits_is_step_failed(open_world):
    class Loop(Workflow):
        go = manual()
        work = step(lambda: None)
        turn = step(lambda: None)
        transitions = [work >> turn >> work]

    world = open_world(SQUIDMESH_MAX_STEP_VISITS=3)
    run = world.run(Loop)
    explanation = explain(world, run.id)
    assert said(explanation) == ("failed", "step_failed", "work", ("replay_run",))
    assert explanation.details == {"last_error": run.last_error}


def test_cancelling(world, seen):
    def work(context):
        world.squidmesh.cancel_run(context.run_id)
        seen.append(explain(world, context.run_id))

    world.run(single(work))
    (explanation,) = seen
    assert said(explanation) == ("cancelling", "cancelling", "work", ("wait_for_cancellation",))
    assert explanation.details == {}


def test_cancelled(world):
    run = world.run(Held)
    world.squidmesh.cancel_run(run.id)
    explanation = explain(world, run.id)
    assert said(explanation) == ("cancelled", "cancelled", None, ("replay_run",))
    assert explanation.details == {}


def test_completed(world):
    run = world.run(single(lambda: None))
    explanation = explain(world, run.id)
    assert said(explanation) == ("completed", "completed", None, ("replay_run",))
    assert explanation.details == {}


# What can be done is what works.


@pytest.mark.parametrize("workflow", [Review, Held, Timer, single(fail), single(lambda: None)])
def test_offered_actions_are_exactly_those_that_are_not_refused(world, clock, workflow):
    run = world.run(workflow)
    offered = set(explain(world, run.id).next_actions)
    verbs = {"unblock_run", "approve_run", "reject_run", "cancel_run"}
    accepted = set()
    for verb in sorted(verbs):
        fresh = world.run(workflow)
        with suppress(InvalidTransition, WrongStepKind):
            getattr(world.squidmesh, verb)(fresh.id, actor="ada")
            accepted.add(verb)
    assert offered & verbs == accepted


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
def test_terminal_run_of_an_unregistered_workflow_offers_no_actions(world, url, ending):
    run_id = world.start(single(fail if ending == "failed" else lambda: None))
    if ending == "cancelled":
        world.squidmesh.cancel_run(run_id)
    run_until_idle()
    assert explain(world, run_id).next_actions == ("replay_run",)
    with make_world(url) as other:
        explanation = explain(other, run_id)
        assert (explanation.status, explanation.next_actions) == (ending, ())


# Several active steps.


def wide(seen, world, *, complete_code: bool) -> type[Workflow]:
    """Return a workflow that stands in every way at once; without the code of one step."""

    def look(context):
        seen.append(explain(world(), context.run_id))

    class Wide(Workflow):
        go = manual()
        resting = wait(seconds=3000)
        again = step(fail, retry=Retry(5, fixed(3000)))
        ready = step(lambda: None)
        running = step(look)
        lost = step(die)
        if complete_code:
            gone = step(lambda: None)
        join = step(lambda: None, after=[resting, ready])

    return Wide


def test_several_active_steps_stand_in_the_order_in_which_they_matter(world, url, clock, seen):
    run_id = world.start(wide(seen, lambda: world, complete_code=True))
    for name in ("resting", "again", "lost"):
        deliver(run_id, name)
    later = clock.now.replace(hour=12, minute=1)
    with make_world(url) as newer:
        newer.squidmesh.register(wide(seen, lambda: newer, complete_code=False))
        with freeze(later):
            assert deliver(run_id, "running") == "executed"
    (explanation,) = seen
    assert said(explanation) == ("running", "definition_unavailable", "gone", ("cancel_run",))
    assert explanation.details["missing"] == "step"
    assert [(each["step"], each["reason"]) for each in explanation.details["steps"]] == [
        ("gone", "definition_unavailable"),
        ("lost", "worker_lost"),
        ("running", "step_running"),
        ("ready", "pending_dispatch"),
        ("again", "waiting_for_retry"),
        ("resting", "waiting_until"),
        ("join", "waiting_for_dependencies"),
    ]
    assert [set(each["details"]) for each in explanation.details["steps"]] == [
        {"missing"},
        {"worker", "attempt", "started_at", "lease_expires_at"},
        {"worker", "attempt", "started_at", "lease_expires_at"},
        set(),
        {"next_attempt", "retry_at", "last_error"},
        {"until"},
        {"waiting_on"},
    ]
    waiting_on = explanation.details["steps"][-1]["details"]["waiting_on"]
    assert waiting_on == {"resting": "waiting", "ready": "pending"}


def test_one_active_step_has_no_list_of_steps(world):
    run = world.run(Review)
    assert "steps" not in explain(world, run.id).details


# Evidence.


def test_evidence_carries_the_facts_that_were_used(world, clock):
    run = world.run(single(fail, retry=Retry(3, fixed(30))))
    evidence = explain(world, run.id).evidence
    assert set(evidence) == {"run", "step_run", "latest_attempt", "dependencies"}
    assert evidence["run"] == world.squidmesh.inspect_run(run.id)
    assert evidence["step_run"] == run.step_runs[0]
    assert evidence["latest_attempt"] == run.step_runs[0].attempts[-1]
    assert evidence["dependencies"] == {}


def test_evidence_of_a_join_has_the_states_of_its_dependencies(world, seen):
    class Fan(Workflow):
        go = manual()
        one = step(lambda: None)
        two = step(lambda: None)
        join = step(fail, after=[one, two])

    run = world.run(Fan)
    evidence = explain(world, run.id).evidence
    assert evidence["dependencies"] == {"one": "completed", "two": "completed"}
    assert evidence["step_run"].step == "join"


def test_evidence_of_a_run_that_is_over_has_no_step(world):
    run = world.run(single(lambda: None))
    evidence = explain(world, run.id).evidence
    assert (evidence["step_run"], evidence["latest_attempt"]) == (None, None)


# Reads change nothing.


def dump() -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    with db.engine.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in db.metadata.sorted_tables
        }


@pytest.mark.parametrize(
    "workflow",
    [Review, Held, Timer, single(fail), single(die), single(fail, retry=Retry(2, fixed(9)))],
)
def test_reads_change_no_row(world, clock, workflow):
    run = world.run(workflow)
    clock.advance(seconds=60)
    before = dump()
    assert any(before.values())
    world.squidmesh.explain_run(run.id)
    world.squidmesh.inspect_run_graph(run.id)
    world.squidmesh.inspect_run(run.id, include_history=True)
    world.squidmesh.list_runs()
    assert dump() == before


def test_explaining_a_lost_worker_does_not_take_its_step_over(world, clock):
    run = world.run(single(die))
    clock.advance(seconds=3600)
    assert explain(world, run.id) == explain(world, run.id)
    assert step_state(world.see(run.id), "work").status == "running"


@pytest.mark.parametrize("call", ["explain_run", "inspect_run_graph", "inspect_run"])
def test_reads_refuse_what_is_no_run(world, call):
    with pytest.raises(InvalidRunId):
        getattr(world.squidmesh, call)("no-id")
    unknown = new_id()
    with pytest.raises(RunNotFound) as refused:
        getattr(world.squidmesh, call)(unknown)
    assert refused.value.run_id == unknown

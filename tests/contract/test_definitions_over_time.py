"""Deploys while runs are under way: each run follows the definition it was started with.

A deploy is a second application, with other code under the same names, on the
same database.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    InvalidTransition,
    Retry,
    UnknownWorkflow,
    Workflow,
    approval,
    complete,
    fixed,
    log,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.store.models import definitions
from flask_squidmesh.testing import abandon, deliver, execute_next, freeze, run_until_idle, tick
from tests.contract.conftest import NOON
from tests.contract.host import attempts, audit, db, make_world, path, single, step_run, step_state
from tests.contract.shapes import make, road


def fail():
    raise OSError("down")


def note(seen, text):
    """Return a step function that notes *text*."""

    def work():
        seen.append(text)

    return work


@pytest.fixture
def deploy(url):
    """Open the application of another release: `with deploy(Workflow, ...) as newer`."""

    def open_release(*workflows):
        context = make_world(url)
        world = context.__enter__()
        opened.append(context)
        for workflow in workflows:
            world.squidmesh.register(workflow)
        return world

    opened: list[Any] = []
    yield open_release
    for context in reversed(opened):
        context.__exit__(None, None, None)


def old_order(seen):
    class Order(Workflow):
        version = "1"
        go = manual()
        review = approval(output="decision")
        ship = step(note(seen, "old ship"))
        refund = step(note(seen, "old refund"))
        transitions = [review >> ship >> complete, review.on_error(refund), refund >> complete]

    return Order


def new_order(seen):
    """Other targets, another key for the decision, another order; the steps still exist."""

    class Order(Workflow):
        version = "2"
        go = manual()
        review = approval(output="verdict")
        pack = step(note(seen, "new pack"))
        ship = step(note(seen, "new ship"))
        refund = step(note(seen, "new refund"))
        transitions = [
            review >> pack >> ship >> complete,
            review.on_error(ship),
            refund >> complete,
            pack.on_error(refund),
        ]

    return Order


# Decisions.


@pytest.mark.parametrize(("verb", "target"), [("approve", "ship"), ("reject", "refund")])
def test_paused_run_goes_where_its_own_definition_said(world, deploy, seen, verb, target):
    run = world.run(old_order(seen))
    newer = deploy(new_order(seen))
    decided = getattr(newer.squidmesh, f"{verb}_run")(run.id, actor="ada")
    assert (decided.status, decided.current_step) == ("running", target)
    run = newer.go(run.id)
    assert (run.status, path(run)) == ("completed", ["review", target])
    assert set(run.context) == {"decision"}
    answer = {"approve": "approved", "reject": "rejected"}[verb]
    assert run.context["decision"]["decision"] == answer
    # The code is today's, the way through it is not.
    assert seen == [f"new {target}"]
    assert run.definition_version == "1"


def test_new_runs_follow_the_new_definition(world, deploy, seen):
    old = world.run(old_order(seen))
    newer = deploy(new_order(seen))
    run = newer.squidmesh.start_run("order")
    newer.go(run.id)
    newer.squidmesh.approve_run(run.id, actor="ada")
    run = newer.go(run.id)
    assert (run.definition_version, path(run)) == ("2", ["review", "pack", "ship"])
    assert set(run.context) == {"verdict"}
    assert newer.see(old.id).status == "paused"


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_paused_run_is_decided_without_any_code(world, deploy, seen, verb):
    run = world.run(old_order(seen))
    bare = deploy()
    decided = getattr(bare.squidmesh, f"{verb}_run")(run.id, actor="ada")
    expected = {"approve": "ship", "reject": "refund", "cancel": None}[verb]
    assert decided.current_step == expected
    assert decided.status == ("cancelled" if verb == "cancel" else "running")
    if verb != "cancel":
        with pytest.raises(InvalidTransition):
            bare.squidmesh.approve_run(run.id, actor="ada")
        assert set(decided.context) == {"decision"}
        assert (run_until_idle(), bare.see(run.id).status) == (0, "running")


def test_pause_is_unblocked_without_any_code(world, deploy):
    class Held(Workflow):
        go = manual()
        hold = pause()
        rest = wait(seconds=60)
        transitions = [hold >> rest >> complete]

    run = world.run(Held)
    bare = deploy()
    assert bare.squidmesh.unblock_run(run.id).current_step == "rest"
    assert audit(bare.see(run.id)) == [("paused", "hold"), ("resumed", "hold")]


# What of the stored definition is followed.


def test_retry_policy_is_that_of_the_stored_definition(world, deploy, clock):
    def flow(retry):
        class Flow(Workflow):
            go = manual()
            work = step(fail, retry=retry)
            transitions = [work >> complete]

        return Flow

    run_id = world.start(flow(Retry(3, fixed(10))))
    execute_next()
    newer = deploy(flow(Retry(1)))
    with freeze(NOON) as later:
        run_until_idle()
        assert newer.see(run_id).status == "retrying"
        for _ in range(2):
            later.advance(seconds=10)
            run_until_idle()
    run = newer.see(run_id)
    assert (run.status, len(attempts(run, "work"))) == ("failed", 3)
    fresh = newer.squidmesh.start_run("flow")
    assert len(attempts(newer.go(fresh.id), "work")) == 1


def test_error_route_is_that_of_the_stored_definition(world, deploy, seen):
    def flow(*, routed):
        class Flow(Workflow):
            go = manual()
            work = step(fail)
            repair = step(note(seen, "repaired"))
            last = step(note(seen, "last"))
            transitions = [
                work >> last >> complete,
                work.on_error(repair) if routed else last.on_error(repair),
                repair >> complete,
            ]

        return Flow

    run_id = world.start(flow(routed=True))
    newer = deploy(flow(routed=False))
    assert newer.go(run_id).status == "completed"
    assert seen == ["repaired"]


def test_input_mapping_and_output_key_are_those_of_the_stored_definition(world, deploy, seen):
    def flow(path, key):
        class Flow(Workflow):
            go = manual()
            load = step(lambda: {"old": {"id": 1}, "new": {"id": 2}}, output="loaded")
            work = step(lambda account: seen.append(account) or account, **mapping(path, key))
            transitions = [load >> work >> complete]

        return Flow

    def mapping(path, key):
        return {"input": {"account": path}, "output": key}

    run_id = world.start(flow("loaded.old.id", "before"))
    newer = deploy(flow("loaded.new.id", "after"))
    run = newer.go(run_id)
    assert (seen, set(run.context)) == ([1], {"loaded", "before"})
    assert step_run(run, "work").input == {"account": 1}


def test_duration_and_message_are_those_of_the_stored_definition(world, deploy, clock, caplog):
    def flow(seconds, message):
        class Flow(Workflow):
            go = manual()
            announce = log(message)
            rest = wait(seconds=seconds)
            transitions = [announce >> rest >> complete]

        return Flow

    caplog.set_level(logging.INFO)
    run_id = world.start(flow(60, "as it was"))
    newer = deploy(flow(5, "as it is"))
    with freeze(NOON):
        run = newer.go(run_id)
    assert "as it was" in caplog.text
    assert "as it is" not in caplog.text
    assert step_state(run, "rest").due_at == NOON + timedelta(seconds=60)


def test_dependencies_are_those_of_the_stored_definition(world, deploy, seen):
    def flow(*, joined):
        class Flow(Workflow):
            go = manual()
            one = step(note(seen, "one"))
            two = step(note(seen, "two"))
            join = step(note(seen, "join"), after=[one, two] if joined else [one])

        return Flow

    run_id = world.start(flow(joined=True))
    newer = deploy(flow(joined=False))
    deliver(run_id, "one")
    assert step_state(newer.see(run_id), "join").status == "not_started"
    assert newer.go(run_id).status == "completed"
    assert seen == ["one", "two", "join"]


def test_lost_worker_is_handled_by_the_stored_definition_without_any_code(world, deploy, clock):
    class Flow(Workflow):
        go = manual()
        work = step(lambda context: abandon(context.run_id, context.step), retry=Retry(2, fixed(9)))
        transitions = [work >> complete]

    run = world.run(Flow)
    bare = deploy()
    with freeze(NOON) as later:
        later.advance(seconds=60)
        assert tick().expired == 1
        run = bare.see(run.id)
    assert (run.status, attempts(run, "work")) == ("retrying", [(1, "abandoned")])


def test_step_that_became_another_kind_keeps_its_own(world, deploy, seen):
    """What was a pause stays one, and what was a function finds none where a wait is now."""

    class Before(Workflow):
        name = "flow"
        go = manual()
        hold = pause()
        work = step(note(seen, "before"))
        transitions = [hold >> work >> complete]

    class After(Workflow):
        name = "flow"
        go = manual()
        hold = step(note(seen, "after"))
        work = wait(seconds=1)
        transitions = [hold >> work >> complete]

    run_id = world.start(Before)
    newer = deploy(After)
    assert newer.go(run_id).status == "paused"
    newer.squidmesh.unblock_run(run_id)
    run = newer.go(run_id)
    assert (run.status, run.current_step, seen) == ("running", "work", [])
    assert newer.squidmesh.explain_run(run_id).reason == "definition_unavailable"


def test_definition_is_stored_once_per_fingerprint(world, deploy, seen):
    def stored():
        with db.engine.connect() as connection:
            return list(connection.scalars(sa.select(definitions.c.version)))

    world.start(old_order(seen))
    world.squidmesh.start_run("order")
    again = deploy(old_order(seen))
    again.squidmesh.start_run("order")
    assert stored() == ["1"]
    newer = deploy(new_order(seen))
    newer.squidmesh.start_run("order")
    assert sorted(stored()) == ["1", "2"]


# Code that is gone.


def steps_of(seen, *names):
    """Return a workflow of these steps, one after the other."""
    return road("Chain", {name: step(note(seen, name)) for name in names})


def test_run_whose_step_is_gone_waits_visibly_and_goes_on_when_it_is_back(world, deploy, seen):
    run_id = world.start(steps_of(seen, "first", "second", "third"))
    without = deploy(steps_of(seen, "first", "third"))
    run = without.go(run_id)
    assert (run.status, run.current_step, run.last_error) == ("running", "second", None)
    explanation = without.squidmesh.explain_run(run_id)
    assert (explanation.reason, explanation.step) == ("definition_unavailable", "second")
    assert explanation.details == {"missing": "step"}
    assert (deliver(run_id, "second"), without.see(run_id)) == ("not_ready", run)
    again = deploy(steps_of(seen, "first", "second", "third"))
    assert again.go(run_id).status == "completed"
    assert seen == ["first", "second", "third"]


def test_run_whose_workflow_is_gone_waits_visibly_and_goes_on_when_it_is_back(world, deploy, seen):
    run_id = world.start(steps_of(seen, "first", "second"))
    bare = deploy()
    run = bare.go(run_id, advance=True)
    assert (run.status, run.current_step, seen) == ("pending", "first", [])
    explanation = bare.squidmesh.explain_run(run_id)
    assert (explanation.reason, explanation.details) == (
        "definition_unavailable",
        {"missing": "workflow"},
    )
    again = deploy(steps_of(seen, "first", "second"))
    assert again.go(run_id).status == "completed"


def test_retry_whose_step_is_gone_waits_visibly_and_is_taken_when_it_is_back(world, deploy, clock):
    def flow(function):
        class Flow(Workflow):
            go = manual()
            work = step(function, retry=Retry(2, fixed(10)))
            transitions = [work >> complete]

        return Flow

    run = world.run(flow(fail))
    bare = deploy()
    with freeze(NOON) as later:
        later.advance(seconds=10)
        assert (run_until_idle(), bare.see(run.id).status) == (0, "retrying")
        explanation = bare.squidmesh.explain_run(run.id)
        assert explanation.reason == "definition_unavailable"
    again = deploy(flow(lambda: None))
    with freeze(later.now):
        assert again.go(run.id).status == "completed"


def test_wait_and_log_need_no_code_of_their_own(world, deploy, clock):
    class Full(Workflow):
        name = "flow"
        go = manual()
        rest = wait(seconds=60)
        announce = log("gone from the code")
        transitions = [rest >> announce >> complete]

    class Empty(Workflow):
        name = "flow"
        go = manual()
        other = step(lambda: None)
        transitions = [other >> complete]

    run = world.run(Full)
    newer = deploy(Empty)
    with freeze(NOON):
        assert newer.go(run.id, advance=True).status == "completed"


def test_branch_whose_code_is_gone_does_not_hold_the_others(world, deploy, seen):
    def flow(*names):
        branches = {name: step(note(seen, name), after=["root"]) for name in names}
        return make("Fan", {"root": step(note(seen, "root")), **branches})

    run_id = world.start(flow("one", "two", "three"))
    without = deploy(flow("one", "three"))
    run = without.go(run_id)
    assert {state.step: state.status for state in run.steps} == {
        "root": "completed",
        "one": "completed",
        "two": "pending",
        "three": "completed",
    }
    assert deploy(flow("one", "two", "three")).go(run_id).status == "completed"
    assert seen == ["root", "one", "three", "two"]


@pytest.mark.parametrize("work_off", [run_until_idle, execute_next])
def test_many_runs_whose_code_is_gone_do_not_hide_what_is_ready(world, deploy, seen, work_off):
    world.start(steps_of(seen, "gone"))
    for _ in range(100):
        world.squidmesh.start_run("chain")
    newer = deploy()
    run_id = newer.start(single(lambda: None))
    assert work_off()
    assert newer.see(run_id).status == "completed"


@pytest.mark.parametrize("ending", ["paused", "completed", "cancelled"])
def test_everything_can_be_read_without_the_code(world, deploy, seen, ending):
    run = world.run(old_order(seen))
    if ending == "completed":
        world.squidmesh.approve_run(run.id, actor="ada", comment="fine")
    elif ending == "cancelled":
        world.squidmesh.cancel_run(run.id)
    run = world.go(run.id)
    graph = world.squidmesh.inspect_run_graph(run.id)
    page = world.squidmesh.list_runs(workflow="order")
    bare = deploy()
    assert bare.see(run.id) == run
    assert bare.squidmesh.inspect_run(run.id) == run.without_history()
    assert bare.squidmesh.list_runs(workflow="order") == page
    assert bare.squidmesh.inspect_run_graph(run.id) == graph
    assert bare.squidmesh.explain_run(run.id).status == ending
    with pytest.raises(UnknownWorkflow):
        bare.squidmesh.start_run("order")


# Replays.


def test_replay_follows_the_definition_of_today(world, deploy, seen):
    source = world.run(old_order(seen))
    newer = deploy(new_order(seen))
    again = newer.squidmesh.replay_run(source.id)
    assert (again.definition_version, again.replayed_from_run_id) == ("2", source.id)
    newer.go(again.id)
    newer.squidmesh.approve_run(again.id, actor="ada")
    assert path(newer.go(again.id)) == ["review", "pack", "ship"]

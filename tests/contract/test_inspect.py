"""What `inspect_run` tells, letter by letter."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from flask_squidmesh import (
    InvalidRunId,
    Retry,
    RunNotFound,
    Workflow,
    complete,
    fixed,
    log,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import execute_next, run_until_idle
from tests.contract.host import path, single, step_state

NOON = "2026-11-02T12:00:00+00:00"
LATER = "2026-11-02T12:00:05+00:00"


def fail():
    raise OSError("down")


class Everything(Workflow):
    version = "v1"
    go = manual()
    first = step(lambda: {"a": 1})
    settle = wait(seconds=5)
    announce = log("settled")
    hold = pause()
    last = step(fail, retry=Retry(2, fixed(60)))
    transitions = [first >> settle >> announce >> hold >> last >> complete]


def without_worker(document):
    """Return the document without the names of workers, which are those of this process."""
    if isinstance(document, dict):
        return {k: without_worker(v) for k, v in document.items() if k != "worker"}
    return [without_worker(v) for v in document] if isinstance(document, list) else document


def test_without_history_steps_step_runs_and_audit_events_are_none(world):
    run_id = world.run(Everything).id
    run = world.squidmesh.inspect_run(run_id)
    assert (run.steps, run.step_runs, run.audit_events) == (None, None, None)


def test_history_adds_to_the_run_and_changes_nothing_else(world):
    run_id = world.run(Everything).id
    short = world.squidmesh.inspect_run(run_id).to_dict()
    full = world.see(run_id).to_dict()
    assert {**full, "steps": None, "step_runs": None, "audit_events": None} == short


@pytest.mark.parametrize("history", [False, True])
def test_malformed_and_unknown_ids_are_refused(world, history):
    for run_id in ("", "nonsense", 5, None):
        with pytest.raises(InvalidRunId):
            world.squidmesh.inspect_run(run_id, include_history=history)
    with pytest.raises(RunNotFound):
        world.squidmesh.inspect_run(new_id(), include_history=history)


def test_fields_of_a_step_run_while_it_waits(world, clock):
    run = world.run(Everything)
    assert (run.status, run.current_step, run.last_error) == ("running", "settle", None)
    assert without_worker(run.to_dict()["step_runs"]) == [
        {
            "step": "first",
            "kind": "step",
            "visit": 1,
            "status": "completed",
            "outcome": "ok",
            "input": {},
            "output": {"a": 1},
            "attempts": [
                {
                    "number": 1,
                    "status": "completed",
                    "error": None,
                    "started_at": NOON,
                    "finished_at": NOON,
                }
            ],
            "due_at": None,
            "created_at": NOON,
            "finished_at": NOON,
        },
        {
            "step": "settle",
            "kind": "wait",
            "visit": 1,
            "status": "waiting",
            "outcome": None,
            "input": None,
            "output": None,
            "attempts": [
                {
                    "number": 1,
                    "status": "running",
                    "error": None,
                    "started_at": NOON,
                    "finished_at": None,
                }
            ],
            "due_at": LATER,
            "created_at": NOON,
            "finished_at": None,
        },
    ]


def test_steps_stand_in_declaration_order_with_those_not_started(world, clock):
    run = world.run(Everything, advance=True)
    found = [(s.step, s.kind, s.status, s.visit, s.depends_on) for s in run.steps]
    assert found == [
        ("first", "step", "completed", 1, ()),
        ("settle", "wait", "completed", 1, ()),
        ("announce", "log", "completed", 1, ()),
        ("hold", "pause", "paused", 1, ()),
        ("last", "step", "not_started", 0, ()),
    ]
    assert step_state(run, "last").to_dict() == {
        "step": "last",
        "kind": "step",
        "status": "not_started",
        "depends_on": [],
        "visit": 0,
        "input": None,
        "output": None,
        "last_error": None,
        "attempts": [],
        "due_at": None,
        "created_at": None,
        "finished_at": None,
    }


def test_run_tells_status_and_place_at_every_point_of_its_life(world, clock):
    run_id = world.start(Everything)
    seen = [(run := world.see(run_id)).status + " " + str(run.current_step)]
    for _ in range(4):
        run = world.go(run_id)
        seen.append(f"{run.status} {run.current_step} {run.last_error and run.last_error['step']}")
        if run.status == "paused":
            world.squidmesh.unblock_run(run_id)
        clock.advance(seconds=60)
    assert seen == [
        "pending first",
        "running settle None",
        "paused hold None",
        "retrying last last",
        "failed last last",
    ]


def test_step_state_of_a_running_step_is_seen_from_inside(world, clock, seen):
    def work(context):
        run = world.see(context.run_id)
        state = step_state(run, "work")
        (attempt,) = state.attempts
        seen.append((run.status, run.current_step, state.status))
        seen.append((attempt.number, attempt.status, attempt.finished_at))
        assert attempt.worker

    world.run(single(work))
    assert seen == [("running", "work", "running"), (1, "running", None)]


def test_worker_of_an_attempt_is_kept(world):
    run = world.run(single(lambda: None))
    (attempt,) = run.step_runs[0].attempts
    assert isinstance(attempt.worker, str)
    assert attempt.worker


def test_durations_are_those_of_the_clock(world, clock):
    def work():
        clock.advance(seconds=5)

    run = world.run(single(work)).to_dict()
    (attempt,) = run["step_runs"][0]["attempts"]
    assert (attempt["started_at"], attempt["finished_at"]) == (NOON, LATER)
    assert (run["created_at"], run["finished_at"], run["updated_at"]) == (NOON, LATER, LATER)


def test_step_runs_are_chronological(world, clock):
    class Fan(Workflow):
        go = manual()
        last = step(lambda: None, after=["slow"])
        slow = wait(seconds=10)
        quick = step(lambda: None)
        after_quick = step(lambda: None, after=[quick])
        join = step(lambda: None, after=[last, after_quick])

    run = world.run(Fan, advance=True)
    assert path(run) == ["slow", "quick", "after_quick", "last", "join"]
    created = [step_run.created_at for step_run in run.step_runs]
    assert created == sorted(created)


@pytest.mark.parametrize("stage", range(4))
def test_run_is_json_safe_at_every_point_of_its_life(world, clock, stage):
    run_id = world.start(Everything)
    for _ in range(stage):
        if world.go(run_id, advance=True).status == "paused":
            world.squidmesh.unblock_run(run_id, actor={"id": 1}, metadata={"a": [1]})
    document = world.see(run_id).to_dict()
    assert json.loads(json.dumps(document)) == document


def test_results_are_frozen(world):
    run = world.run(single(lambda: None))
    for result in (run, run.steps[0], run.step_runs[0], run.step_runs[0].attempts[0]):
        with pytest.raises(FrozenInstanceError):
            result.status = "else"


def test_reading_changes_nothing(world, clock):
    run_id = world.start(Everything)
    execute_next()
    before = world.see(run_id)
    clock.advance(seconds=1)
    assert world.see(run_id) == before
    assert world.squidmesh.inspect_run(run_id).updated_at == before.updated_at


def test_run_is_read_by_an_application_that_lacks_its_code(open_world):
    run = open_world().run(Everything)
    assert open_world().see(run.id) == run


def test_times_are_aware_and_in_utc(world):
    run = world.run(single(lambda: None))
    for moment in (run.created_at, run.updated_at, run.finished_at):
        assert moment.utcoffset().total_seconds() == 0


def test_run_follows_the_definition_it_was_started_with(open_world):
    class Version1(Workflow):
        name = "deployed"
        version = "1"
        go = manual()
        hold = pause()
        ship = step(lambda: {"by": "old route"})
        transitions = [hold >> ship >> complete]

    class Version2(Workflow):
        name = "deployed"
        version = "2"
        go = manual()
        hold = pause()
        ship = step(lambda: {"by": "new code"}, output="shipped")
        refund = step(lambda: {"by": "new route"})
        transitions = [hold >> refund >> ship >> complete]

    run = open_world().run(Version1)
    later = open_world()
    later.squidmesh.register(Version2)
    later.squidmesh.unblock_run(run.id)
    run = later.go(run.id)
    assert (run.status, run.definition_version) == ("completed", "1")
    assert (path(run), run.context) == (["hold", "ship"], {"by": "new code"})


def test_run_whose_code_is_gone_waits_and_goes_on_when_it_is_back(open_world):
    class Gone(Workflow):
        go = manual()
        work = step(lambda: None)
        transitions = [work >> complete]

    run_id = open_world().start(Gone)
    without = open_world()
    assert (run_until_idle(advance=True), without.see(run_id).status) == (0, "pending")
    again = open_world()
    again.squidmesh.register(Gone)
    assert again.go(run_id).status == "completed"

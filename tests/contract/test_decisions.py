"""What people decide at pauses and approvals, and what is written down about it."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_squidmesh import (
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    RunNotFound,
    Workflow,
    WrongStepKind,
    approval,
    complete,
    manual,
    pause,
    step,
)
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import deliver, run_until_idle
from tests.contract.callers import Review
from tests.contract.host import attempts, audit, make_world, path, prepare, step_run, step_state

CALLS = ("unblock_run", "approve_run", "reject_run")


class Held(Workflow):
    go = manual()
    hold = pause()
    after = step(lambda: None)
    transitions = [hold >> after >> complete]


class KeyedReview(Workflow):
    go = manual()
    review = approval(output="decision")
    ship = step(lambda: None)
    refund = step(lambda: None)
    transitions = [review >> ship >> complete, review.on_error(refund), refund >> complete]


@pytest.fixture
def squidmesh(world):
    return world.squidmesh


def decide(squidmesh, call, run_id, **said):
    return getattr(squidmesh, call)(run_id, **{"actor": "ada", **said})


# Pauses.


def test_pause_stops_the_run_until_it_is_unblocked(world, squidmesh, clock):
    run = world.run(Held)
    assert (run.status, run.current_step) == ("paused", "hold")
    assert (step_state(run, "hold").status, attempts(run, "hold")) == ("paused", [(1, "running")])
    assert step_state(run, "hold").due_at is None
    assert (run_until_idle(advance=True), deliver(run.id, "hold")) == (0, "not_ready")
    unblocked = squidmesh.unblock_run(run.id)
    assert (unblocked.status, unblocked.current_step) == ("running", "after")
    run = world.go(run.id)
    assert (run.status, path(run)) == ("completed", ["hold", "after"])
    assert attempts(run, "hold") == [(1, "completed")]


def test_unblocked_run_has_exactly_the_events_paused_and_resumed(world, squidmesh):
    run = world.run(Held)
    squidmesh.unblock_run(run.id)
    assert audit(world.go(run.id)) == [("paused", "hold"), ("resumed", "hold")]


def test_unblocking_needs_no_actor_but_keeps_one(world, squidmesh):
    run = world.run(Held)
    squidmesh.unblock_run(run.id, actor="ada", comment="go", metadata={"ticket": 7})
    _, event = world.see(run.id).audit_events
    assert (event.actor, event.comment, event.metadata) == ("ada", "go", {"ticket": 7})


def test_pause_adds_nothing_to_the_context(world, squidmesh):
    run = world.run(Held)
    squidmesh.unblock_run(run.id, actor="ada")
    assert world.go(run.id).context == {}


def test_pause_that_leads_to_the_end_completes_the_run_at_once(world, squidmesh):
    class Last(Workflow):
        go = manual()
        hold = pause()
        transitions = [hold >> complete]

    run = world.run(Last)
    assert squidmesh.unblock_run(run.id).status == "completed"


def test_pause_may_follow_a_pause(world, squidmesh):
    class Double(Workflow):
        go = manual()
        first = pause()
        second = pause()
        transitions = [first >> second >> complete]

    run = world.run(Double)
    again = squidmesh.unblock_run(run.id, actor="ada", comment="one")
    assert (again.status, again.current_step) == ("paused", "second")
    squidmesh.unblock_run(run.id)
    run = world.see(run.id)
    assert audit(run) == [
        ("paused", "first"),
        ("resumed", "first"),
        ("paused", "second"),
        ("resumed", "second"),
    ]
    assert [event.comment for event in run.audit_events] == [None, "one", None, None]


# Approvals.


def test_approved_run_has_exactly_the_events_paused_and_approved(world, squidmesh, clock):
    run = world.run(Review)
    clock.advance(seconds=60)
    squidmesh.approve_run(run.id, actor={"id": 7}, comment="fine", metadata={"ticket": 7})
    run = world.go(run.id)
    assert [event.to_dict() for event in run.audit_events] == [
        {
            "type": "paused",
            "step": "review",
            "actor": None,
            "comment": None,
            "metadata": None,
            "at": "2026-11-02T12:00:00+00:00",
        },
        {
            "type": "approved",
            "step": "review",
            "actor": {"id": 7},
            "comment": "fine",
            "metadata": {"ticket": 7},
            "at": "2026-11-02T12:01:00+00:00",
        },
    ]


def test_approving_goes_on_and_the_decision_is_the_output(world, squidmesh, clock):
    run = world.run(KeyedReview)
    squidmesh.approve_run(run.id, actor="ada")
    run = world.go(run.id)
    decision = {"decision": "approved", "actor": "ada", "decided_at": clock.now.isoformat()}
    assert (run.status, path(run)) == ("completed", ["review", "ship"])
    assert run.context == {"decision": decision}
    assert step_run(run, "review").output == decision
    assert step_run(run, "review").status == "completed"


def test_rejecting_takes_the_error_route_and_does_not_fail_the_run(world, squidmesh, clock):
    run = world.run(KeyedReview)
    rejected = squidmesh.reject_run(run.id, actor="ada", comment="no", metadata={"why": 1})
    assert (rejected.status, rejected.current_step) == ("running", "refund")
    run = world.go(run.id)
    assert (run.status, path(run), run.last_error) == ("completed", ["review", "refund"], None)
    assert run.context == {
        "decision": {
            "decision": "rejected",
            "actor": "ada",
            "comment": "no",
            "metadata": {"why": 1},
            "decided_at": clock.now.isoformat(),
        }
    }
    assert audit(run) == [("paused", "review"), ("rejected", "review")]
    assert attempts(run, "review") == [(1, "completed")]


def test_decision_without_an_output_key_is_merged(world, squidmesh, clock):
    run = world.run(Review)
    squidmesh.approve_run(run.id, actor="ada")
    assert world.go(run.id).context == {
        "decision": "approved",
        "actor": "ada",
        "decided_at": clock.now.isoformat(),
    }


def test_rejection_is_no_failure_on_the_error_route(world, squidmesh, seen):
    class Asked(Workflow):
        go = manual()
        review = approval()
        refund = step(lambda context: seen.append(context.failure))
        transitions = [review >> complete, review.on_error(refund), refund >> complete]

    run = world.run(Asked)
    squidmesh.reject_run(run.id, actor="ada")
    run_until_idle()
    assert seen == [None]


def test_rejected_approval_may_ask_again(world, squidmesh):
    class AskAgain(Workflow):
        go = manual()
        review = approval()
        transitions = [review >> complete, review.on_error(review)]

    run = world.run(AskAgain)
    again = squidmesh.reject_run(run.id, actor="ada")
    assert (again.status, again.current_step) == ("paused", "review")
    assert squidmesh.approve_run(run.id, actor="ada").status == "completed"
    run = world.see(run.id)
    assert [(s.step, s.visit, s.outcome) for s in run.step_runs] == [
        ("review", 1, "error"),
        ("review", 2, "ok"),
    ]
    assert audit(run) == [
        ("paused", "review"),
        ("rejected", "review"),
        ("paused", "review"),
        ("approved", "review"),
    ]


def test_decision_needs_the_stored_definition_only(open_world):
    run = open_world().run(Review)
    later = open_world()
    assert later.squidmesh.approve_run(run.id, actor="ada").current_step == "ship"


# Refusals.


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("run_id", ["", "nonsense", 5, None, "123"])
def test_malformed_run_id_is_refused(squidmesh, call, run_id):
    with pytest.raises(InvalidRunId) as refused:
        decide(squidmesh, call, run_id)
    assert refused.value.run_id == run_id


@pytest.mark.parametrize("call", CALLS)
def test_unknown_run_is_not_found(squidmesh, call):
    run_id = new_id()
    with pytest.raises(RunNotFound) as refused:
        decide(squidmesh, call, run_id)
    assert refused.value.run_id == run_id


@pytest.mark.parametrize(
    ("workflow", "call", "expected"),
    [
        (Review, "unblock_run", ("review", "approval")),
        (Held, "approve_run", ("hold", "pause")),
        (Held, "reject_run", ("hold", "pause")),
    ],
)
def test_wrong_kind_names_the_step_and_its_real_kind(world, squidmesh, workflow, call, expected):
    run = world.run(workflow)
    with pytest.raises(WrongStepKind) as refused:
        decide(squidmesh, call, run.id)
    assert (refused.value.step, refused.value.kind) == expected
    assert world.see(run.id) == run


@pytest.mark.parametrize(("call", "verb"), [(call, call.removesuffix("_run")) for call in CALLS])
@pytest.mark.parametrize("status", ["pending", "completed"])
def test_wrong_status_names_both(world, squidmesh, call, verb, status):
    run_id = world.start(Review)
    if status == "completed":
        run_until_idle()
        squidmesh.approve_run(run_id, actor="ada")
        run_until_idle()
    before = world.see(run_id)
    with pytest.raises(InvalidTransition) as refused:
        decide(squidmesh, call, run_id)
    assert (refused.value.current, refused.value.requested) == (status, verb)
    assert status in str(refused.value)
    assert verb in str(refused.value)
    assert world.see(run_id) == before


@pytest.mark.parametrize("call", ["approve_run", "reject_run"])
@pytest.mark.parametrize("actor", [None, "", "   ", {}, 5, ["ada"]])
def test_decision_without_an_acceptable_actor_is_refused(world, squidmesh, call, actor):
    run = world.run(Review)
    with pytest.raises(InvalidDecision) as refused:
        decide(squidmesh, call, run.id, actor=actor)
    assert set(refused.value.errors) == {"actor"}
    assert world.see(run.id) == run


def test_refused_decision_names_every_bad_field(world, squidmesh):
    run = world.run(Review)
    with pytest.raises(InvalidDecision) as refused:
        squidmesh.approve_run(run.id, comment="", metadata=[1])
    assert set(refused.value.errors) == {"actor", "comment", "metadata"}
    assert world.see(run.id) == run


@pytest.mark.parametrize(
    "said", [{"actor": 5}, {"comment": 5}, {"metadata": "x"}, {"metadata": {"a": {1}}}]
)
def test_unblocking_checks_what_is_said(world, squidmesh, said):
    run = world.run(Held)
    with pytest.raises(InvalidDecision) as refused:
        squidmesh.unblock_run(run.id, **said)
    assert set(refused.value.errors) == set(said)
    assert world.see(run.id) == run


# Several people at once.


def test_of_many_threads_deciding_exactly_one_wins(world, squidmesh):
    run = world.run(Review)
    barrier = threading.Barrier(8)

    def call(number):
        with world.app.app_context():
            barrier.wait()
            try:
                decide(squidmesh, ("approve_run", "reject_run")[number % 2], run.id)
            except InvalidTransition as refused:
                return refused.current
            return "won"

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(call, range(8)))
    assert answers == {"won": 1, "running": 7}
    assert len(world.see(run.id).audit_events) == 2


def test_of_two_hundred_calls_in_several_processes_exactly_one_wins(
    postgres_databases, process, tmp_path
):
    url = postgres_databases.create(prepare)
    with make_world(url) as world:
        run_id = world.run(Review).id
    go = tmp_path / "go"
    command = (sys.executable, "-m", "tests.contract.callers", "decide", url, str(go), run_id)
    started = [process(*command, ready="up") for _ in range(4)]
    go.touch()
    for each in started:
        assert each.wait_for_end() == 0
    lines = [line for each in started for line in each.log.splitlines() if "{" in line]
    answers = Counter(next(iter(json.loads(line))) for line in lines)
    assert answers == {"won": 1, "refused": 199}
    with make_world(url) as world:
        assert [kind for kind, _ in audit(world.see(run_id))][:-1] == ["paused"]

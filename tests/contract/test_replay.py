"""Replays: a new run of today's definition from what an earlier run was asked for."""

from __future__ import annotations

import pytest
from marshmallow import fields

from flask_squidmesh import (
    DefinitionUnavailable,
    InvalidDecision,
    InvalidRunId,
    RunNotFound,
    Workflow,
    approval,
    complete,
    manual,
    step,
)
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import run_until_idle
from tests.contract.host import audit, make_world, path, single


def charge(*, required=False, fails=False):
    """Return a workflow; with *required*, its contract asks for more than it used to."""

    def work(account_id):
        if fails:
            raise OSError("down")
        return {"charged": account_id}

    more = {"currency": fields.String(required=True)} if required else {}

    class Charge(Workflow):
        go = manual(
            account_id=fields.String(required=True), token=fields.Raw(load_default=new_id), **more
        )
        again = manual(account_id=fields.String(required=True))
        work_on = step(work)
        transitions = [work_on >> complete]

    return Charge


class Review(Workflow):
    go = manual()
    review = approval()
    transitions = [review >> complete, review.on_error(complete)]


def test_replay_is_a_new_run_of_the_same_request(world, clock):
    source = world.run(charge(), {"account_id": "A1"})
    clock.advance(seconds=60)
    replayed = world.squidmesh.replay_run(source.id, actor="ada")
    assert replayed.id != source.id
    assert (replayed.status, replayed.current_step) == ("pending", "work_on")
    assert (replayed.workflow, replayed.trigger) == ("charge", "go")
    # Defaults too: they were evaluated once, when the first run was created.
    assert replayed.payload == source.payload
    assert (replayed.context, replayed.last_error) == ({}, None)
    assert replayed.replayed_from_run_id == source.id
    assert replayed.created_at == clock.now
    run = world.go(replayed.id)
    assert (run.status, run.context) == ("completed", {"charged": "A1"})
    assert source.replayed_from_run_id is None


def test_replay_keeps_the_trigger(world):
    source = world.start(charge(), {"account_id": "A1"}, trigger="again")
    assert world.squidmesh.replay_run(source).trigger == "again"


@pytest.mark.parametrize("status", ["pending", "paused", "completed", "failed", "cancelled"])
def test_run_of_any_status_can_be_replayed_and_is_left_untouched(world, clock, status):
    workflow = Review if status == "paused" else charge(fails=status == "failed")
    run_id = world.start(workflow, None if status == "paused" else {"account_id": "A1"})
    if status == "cancelled":
        world.squidmesh.cancel_run(run_id)
    elif status != "pending":
        run_until_idle()
    source = world.see(run_id)
    assert source.status == status
    clock.advance(seconds=60)
    replayed = world.squidmesh.replay_run(run_id)
    assert (replayed.status, replayed.payload) == ("pending", source.payload)
    assert world.see(run_id) == source


def test_executing_run_can_be_replayed(world, seen):
    def work(context):
        if not seen:
            seen.append(world.squidmesh.replay_run(context.run_id).status)

    run = world.run(single(work))
    assert (seen, run.status, world.count_runs()) == (["pending"], "completed", 2)


def test_event_stands_in_the_new_run_and_names_the_source(world, clock):
    source = world.run(charge(), {"account_id": "A1"})
    replayed = world.squidmesh.replay_run(source.id, actor={"id": 7})
    (event,) = world.see(replayed.id).audit_events
    assert event.to_dict() == {
        "type": "replayed",
        "step": None,
        "actor": {"id": 7},
        "comment": None,
        "metadata": {"source_run_id": source.id},
        "at": "2026-11-02T12:00:00+00:00",
    }
    assert world.see(source.id).audit_events == ()


def test_replay_of_a_replay_names_the_run_it_was_made_from(world):
    source = world.run(charge(), {"account_id": "A1"})
    first = world.squidmesh.replay_run(source.id)
    second = world.squidmesh.replay_run(first.id)
    assert (second.replayed_from_run_id, second.payload) == (first.id, source.payload)


def test_stored_payload_is_not_validated_again(world, url):
    source = world.run(charge(), {"account_id": "A1"})
    with make_world(url) as newer:
        newer.squidmesh.register(charge(required=True))
        replayed = newer.squidmesh.replay_run(source.id)
        assert replayed.payload == source.payload
        assert newer.go(replayed.id).status == "completed"


def test_trigger_that_is_gone_does_not_keep_a_run_from_being_replayed(world, url):
    class Charge(Workflow):
        other = manual()
        work_on = step(lambda: None)
        transitions = [work_on >> complete]

    source = world.run(charge(), {"account_id": "A1"})
    with make_world(url) as newer:
        newer.squidmesh.register(Charge)
        replayed = newer.squidmesh.replay_run(source.id)
        run = newer.go(replayed.id)
        assert (run.trigger, run.status, path(run)) == ("go", "completed", ["work_on"])


def test_replay_does_not_take_the_key_of_its_source(world):
    source = world.start(charge(), {"account_id": "A1"}, idempotency_key="order-1")
    replayed = world.squidmesh.replay_run(source)
    again = world.squidmesh.start_run("charge", {"account_id": "A1"}, idempotency_key="order-1")
    assert replayed.id != source
    assert again.id == source


def test_each_replay_is_a_run_of_its_own(world):
    source = world.run(charge(), {"account_id": "A1"})
    assert len({world.squidmesh.replay_run(source.id).id for _ in range(3)}) == 3


def test_replay_without_the_workflow_is_refused(world, url):
    source = world.run(charge(), {"account_id": "A1"})
    with make_world(url) as bare:
        with pytest.raises(DefinitionUnavailable) as refused:
            bare.squidmesh.replay_run(source.id)
        assert refused.value.workflow == "charge"
        assert bare.count_runs() == 1


@pytest.mark.parametrize("actor", ["", " ", {}, 5])
def test_replay_needs_no_actor_but_refuses_one_that_is_none(world, actor):
    source = world.run(charge(), {"account_id": "A1"})
    with pytest.raises(InvalidDecision) as refused:
        world.squidmesh.replay_run(source.id, actor=actor)
    assert set(refused.value.errors) == {"actor"}
    assert world.count_runs() == 1
    assert audit(world.see(world.squidmesh.replay_run(source.id).id)) == [("replayed", None)]


def test_replay_of_no_run_is_refused(world):
    with pytest.raises(InvalidRunId):
        world.squidmesh.replay_run("no-id")
    with pytest.raises(RunNotFound):
        world.squidmesh.replay_run(new_id())

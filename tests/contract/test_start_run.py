"""Starting runs: what is checked, in which order, and when the run exists."""

from __future__ import annotations

import uuid

import pytest
from marshmallow import Schema, fields, validate

from flask_squidmesh import (
    DocumentTooLarge,
    PayloadError,
    UnknownTrigger,
    UnknownWorkflow,
    Workflow,
    complete,
    cron,
    manual,
    pause,
    step,
)
from flask_squidmesh.signals import run_created
from flask_squidmesh.testing import run_until_idle
from tests.contract.host import Note, db, notes, single, write


class Recovery(Workflow):
    version = "2026-11-01"

    by_hand = manual(account_id=fields.String(required=True), amount=fields.Integer(load_default=5))
    other = manual(reason=fields.String(required=True))
    load = step(lambda: None)
    transitions = [load >> complete]


@pytest.fixture
def squidmesh(world):
    world.squidmesh.register(Recovery)
    return world.squidmesh


def test_run_is_stored_as_it_was_asked_for(squidmesh, clock):
    run = squidmesh.start_run(Recovery, {"account_id": "A1"})
    assert run.to_dict() == {
        "id": run.id,
        "workflow": "recovery",
        "definition_version": "2026-11-01",
        "trigger": "by_hand",
        "status": "pending",
        "payload": {"account_id": "A1", "amount": 5},
        "context": {},
        "current_step": "load",
        "last_error": None,
        "replayed_from_run_id": None,
        "created_at": "2026-11-02T12:00:00+00:00",
        "updated_at": "2026-11-02T12:00:00+00:00",
        "finished_at": None,
        "steps": None,
        "step_runs": None,
        "audit_events": None,
    }
    assert squidmesh.inspect_run(run.id) == run


def test_run_ids_are_uuids_of_version_7_in_the_order_of_their_start(squidmesh):
    ids = [squidmesh.start_run(Recovery, {"account_id": "A1"}).id for _ in range(5)]
    assert [uuid.UUID(run_id).version for run_id in ids] == [7] * 5
    assert ids == sorted(ids)


def test_workflow_may_be_given_by_name(squidmesh):
    assert squidmesh.start_run("recovery", {"account_id": "A1"}).workflow == "recovery"


def test_first_trigger_is_the_default_and_others_are_named(squidmesh):
    assert squidmesh.start_run(Recovery, {"account_id": "A1"}).trigger == "by_hand"
    named = squidmesh.start_run(Recovery, {"reason": "why"}, trigger="other")
    assert (named.trigger, named.payload) == ("other", {"reason": "why"})


def test_payload_is_checked_against_the_chosen_trigger_only(squidmesh):
    with pytest.raises(PayloadError) as refused:
        squidmesh.start_run(Recovery, {"account_id": "A1"}, trigger="other")
    assert set(refused.value.messages) == {"account_id", "reason"}


def test_trigger_may_be_a_schema(world):
    class Contract(Schema):
        amount = fields.Integer(required=True, validate=validate.Range(min=1))

    class Payment(Workflow):
        go = manual(schema=Contract)
        pay = step(lambda: None)
        transitions = [pay >> complete]

    run_id = world.start(Payment, {"amount": "3"})
    assert world.see(run_id).payload == {"amount": 3}
    with pytest.raises(PayloadError) as refused:
        world.start(Payment, {"amount": 0})
    assert set(refused.value.messages) == {"amount"}


def test_callable_default_is_evaluated_once_and_stored(world, seen):
    counter = iter(range(100))

    class Counted(Workflow):
        go = manual(number=fields.Integer(load_default=lambda: next(counter)))
        first = step(lambda number: seen.append(number))  # noqa: PLW0108  # filled by name
        second = step(lambda number: seen.append(number))  # noqa: PLW0108  # filled by name
        transitions = [first >> second >> complete]

    run = world.run(Counted)
    assert (run.payload, seen) == ({"number": 0}, [0, 0])


def test_cron_trigger_can_be_started_by_hand(world):
    class Nightly(Workflow):
        nightly = cron("0 3 * * *", amount=fields.Integer(load_default=2))
        work = step(lambda: None)
        transitions = [work >> complete]

    run = world.run(Nightly)
    assert (run.trigger, run.payload, run.status) == ("nightly", {"amount": 2}, "completed")


@pytest.mark.parametrize(
    ("payload", "fields_at_fault"),
    [
        (None, {"account_id"}),
        ({}, {"account_id"}),
        ({"account_id": 5}, {"account_id"}),
        ({"account_id": "A1", "unknown": 1}, {"unknown"}),
        ({"amount": "much", "unknown": 1}, {"account_id", "amount", "unknown"}),
    ],
)
def test_refused_payload_names_every_field_and_stores_nothing(
    world, squidmesh, payload, fields_at_fault
):
    with pytest.raises(PayloadError) as refused:
        squidmesh.start_run(Recovery, payload)
    assert set(refused.value.messages) == fields_at_fault
    assert world.count_runs() == 0


@pytest.mark.parametrize("payload", [[], "text", 5, [("account_id", "A1")]])
def test_payload_that_is_no_mapping_is_refused(world, squidmesh, payload):
    with pytest.raises(PayloadError):
        squidmesh.start_run(Recovery, payload)
    assert world.count_runs() == 0


@pytest.mark.parametrize("workflow", ["nobody", "", single(lambda: None), Workflow])
def test_unknown_workflow_is_refused(world, squidmesh, workflow):
    with pytest.raises(UnknownWorkflow):
        squidmesh.start_run(workflow, {"account_id": "A1"})
    assert world.count_runs() == 0


def test_unknown_trigger_names_those_there_are(world, squidmesh):
    with pytest.raises(UnknownTrigger) as refused:
        squidmesh.start_run(Recovery, {}, trigger="nobody")
    assert (refused.value.workflow, refused.value.trigger) == ("recovery", "nobody")
    assert refused.value.known == ("by_hand", "other")
    assert world.count_runs() == 0


def test_workflow_is_checked_before_trigger_and_trigger_before_payload(squidmesh):
    with pytest.raises(UnknownWorkflow):
        squidmesh.start_run("nobody", {"wrong": 1}, trigger="nobody")
    with pytest.raises(UnknownTrigger):
        squidmesh.start_run(Recovery, {"wrong": 1}, trigger="nobody")
    with pytest.raises(PayloadError):
        squidmesh.start_run(Recovery, {"wrong": "x" * 10_000_000})


def test_payload_of_exactly_the_limit_is_accepted_and_a_byte_more_refused(open_world):
    world = open_world(SQUIDMESH_MAX_DOCUMENT_BYTES=200)

    class Large(Workflow):
        go = manual(a=fields.String())
        work = step(lambda: None)
        transitions = [work >> complete]

    longest = "x" * (200 - len('{"a":""}'))
    world.start(Large, {"a": longest})
    with pytest.raises(DocumentTooLarge) as refused:
        world.start(Large, {"a": longest + "x"})
    assert (refused.value.what, refused.value.size, refused.value.limit) == ("payload", 201, 200)
    assert world.count_runs() == 1


@pytest.mark.parametrize("text", ["\0", "\ud800", "häßlich 🦑", "'; DROP TABLE"])
def test_text_of_any_kind_survives(world, text, seen):
    class Any(Workflow):
        go = manual(a=fields.Raw())
        work = step(lambda a: seen.append(a))  # noqa: PLW0108  # filled by name
        transitions = [work >> complete]

    run = world.run(Any, {"a": {text: text}})
    assert (run.payload, seen) == ({"a": {text: text}}, [{text: text}])


# `session=`: the run exists, and starts, exactly when the caller commits.


def test_run_of_a_session_exists_when_the_caller_commits(world, squidmesh):
    write("host")
    run = squidmesh.start_run(Recovery, {"account_id": "A1"}, session=db.session)
    assert run.status == "pending"
    assert (notes(), world.count_runs()) == ([], 0)
    db.session.commit()
    assert (notes(), world.count_runs()) == (["host"], 1)
    assert world.go(run.id).status == "completed"


def test_run_of_a_session_is_gone_when_the_caller_rolls_back(world, squidmesh):
    write("host")
    squidmesh.start_run(Recovery, {"account_id": "A1"}, session=db.session)
    db.session.rollback()
    assert (notes(), world.count_runs(), run_until_idle()) == ([], 0, 0)


def test_session_itself_may_be_given(world, squidmesh):
    squidmesh.start_run(Recovery, {"account_id": "A1"}, session=db.session())
    db.session.commit()
    assert world.count_runs() == 1


def test_pending_objects_of_the_session_go_first(world, squidmesh, seen):
    write("pending")
    squidmesh.start_run(
        world.squidmesh.register(single(lambda: seen.extend(notes()))), session=db.session
    )
    db.session.commit()
    run_until_idle()
    assert seen == ["pending"]


def test_refused_call_leaves_the_session_usable(world, squidmesh):
    write("host")
    with pytest.raises(PayloadError):
        squidmesh.start_run(Recovery, {}, session=db.session)
    db.session.commit()
    assert (notes(), world.count_runs()) == (["host"], 0)


def test_run_in_a_savepoint_that_is_rolled_back_is_gone(world, squidmesh):
    write("outer")
    savepoint = db.session.begin_nested()
    write("inner")
    squidmesh.start_run(Recovery, {"account_id": "A1"}, session=db.session)
    savepoint.rollback()
    db.session.commit()
    assert (notes(), world.count_runs(), run_until_idle()) == (["outer"], 0, 0)


def open_transaction():
    """Begin with a write: without one Python's sqlite3 takes a savepoint for the transaction."""
    write("outer")
    db.session.flush()


def test_run_in_a_released_savepoint_waits_for_the_outer_commit(world, squidmesh):
    open_transaction()
    with db.session.begin_nested():
        squidmesh.start_run(Recovery, {"account_id": "A1"}, session=db.session)
    assert world.count_runs() == 0
    db.session.commit()
    assert (world.count_runs(), run_until_idle()) == (1, 1)


def test_run_in_a_released_savepoint_is_gone_with_the_outer_rollback(world, squidmesh):
    open_transaction()
    with db.session.begin_nested():
        squidmesh.start_run(Recovery, {"account_id": "A1"}, session=db.session)
    db.session.rollback()
    assert (world.count_runs(), run_until_idle()) == (0, 0)


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("nested", [False, True])
def test_run_of_a_session_is_told_of_after_its_commit_only(world, squidmesh, seen, end, nested):
    def receive(_app, run_id, **_):
        seen.append(run_id)

    with run_created.connected_to(receive, sender=world.app):
        open_transaction()
        if nested:
            with db.session.begin_nested():
                run = squidmesh.start_run(Recovery, {"account_id": "A"}, session=db.session)
        else:
            run = squidmesh.start_run(Recovery, {"account_id": "A"}, session=db.session)
        assert seen == []
        getattr(db.session, end)()
        assert seen == ([run.id] if end == "commit" else [])
        db.session.commit()
        assert len(seen) == (end == "commit")


def test_several_runs_may_join_one_transaction(world, squidmesh):
    for _ in range(3):
        squidmesh.start_run(Recovery, {"account_id": "A1"}, session=db.session)
    db.session.commit()
    assert (world.count_runs(), run_until_idle()) == (3, 3)


def test_session_can_be_used_again_after_commit_and_rollback(world, squidmesh):
    squidmesh.start_run(Recovery, {"account_id": "lost"}, session=db.session)
    db.session.rollback()
    squidmesh.start_run(Recovery, {"account_id": "kept"}, session=db.session)
    db.session.commit()
    db.session.commit()
    assert [run.payload["account_id"] for run in squidmesh.list_runs()] == ["kept"]


def test_definition_first_stored_in_a_rolled_back_transaction_is_stored_again(world, squidmesh):
    squidmesh.start_run(Recovery, {"account_id": "lost"}, session=db.session)
    db.session.rollback()
    run = squidmesh.start_run(Recovery, {"account_id": "kept"})
    assert world.go(run.id).status == "completed"


def test_step_may_start_a_run_in_its_own_transaction(world, squidmesh):
    def start_and_fail(context):
        squidmesh.start_run(Recovery, {"account_id": "lost"}, session=db.session)
        raise OSError

    def start_another(context):
        squidmesh.start_run(Recovery, {"account_id": "kept"}, session=db.session)

    class Parent(Workflow):
        go = manual()
        failing = step(start_and_fail)
        starting = step(start_another)
        transitions = [failing >> complete, failing.on_error(starting), starting >> complete]

    world.run(Parent)
    children = squidmesh.list_runs(workflow="recovery")
    assert [child.payload["account_id"] for child in children] == ["kept"]
    assert children[0].status == "completed"


def test_own_commit_leaves_the_host_session_alone(world, squidmesh):
    db.session.execute(db.select(Note))
    run = squidmesh.start_run(Recovery, {"account_id": "A1"})
    db.session.rollback()
    assert squidmesh.inspect_run(run.id).status == "pending"


def test_run_is_pending_until_a_worker_takes_its_first_step_whatever_its_kind(world):
    class Held(Workflow):
        go = manual()
        hold = pause()
        transitions = [hold >> complete]

    run_id = world.start(Held)
    assert world.see(run_id).status == "pending"
    assert world.go(run_id).status == "paused"

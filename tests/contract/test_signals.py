"""Signals: what is told, with which words, and only once it is committed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    Retry,
    Workflow,
    approval,
    complete,
    cron,
    fixed,
    manual,
    signals,
    step,
    wait,
)
from flask_squidmesh.testing import abandon, deliver, freeze, run_until_idle, tick
from tests.contract.conftest import NOON
from tests.contract.host import Note, db, make_world, notes, single, write
from tests.contract.shapes import road

NAMES = (
    "run_created",
    "run_replayed",
    "run_dispatched",
    "run_transition",
    "step_started",
    "step_skipped",
    "step_completed",
    "step_failed",
    "step_retry_scheduled",
)
COMMON = {"run_id", "workflow", "trigger", "status", "current_step"}
OF_STEP = COMMON | {"step", "attempt"}
KEYS = {
    "run_created": COMMON,
    "run_replayed": COMMON,
    "run_dispatched": COMMON,
    "run_transition": COMMON | {"from_status", "to_status"},
    "step_started": OF_STEP,
    "step_skipped": OF_STEP | {"reason"},
    "step_completed": OF_STEP | {"duration"},
    "step_failed": OF_STEP | {"duration", "error"},
    "step_retry_scheduled": OF_STEP | {"delay"},
}


def fail():
    raise OSError("down")


class Shop(Workflow):
    go = manual()
    load = step(lambda: {"loaded": True})
    ship = step(lambda: None)
    transitions = [load >> ship >> complete]


class Heard:
    """Everything that was sent by one application."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []

    def listen(self, name):
        def receive(sender, **values):
            self.all.append((name, values))

        return receive

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.all]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [values for heard, values in self.all if heard == name]

    def forget(self) -> None:
        self.all.clear()


def connect(stack, name, app, receiver):
    signal = getattr(signals, name)
    signal.connect(receiver, app, weak=False)
    stack.callback(signal.disconnect, receiver, app)


@pytest.fixture
def heard(world):
    """What the application sends, in order."""
    record = Heard()
    with ExitStack() as stack:
        for name in NAMES:
            connect(stack, name, world.app, record.listen(name))
        yield record


@pytest.fixture
def receive(world):
    """Connect a receiver for the duration of the test: `receive("run_created", function)`."""
    with ExitStack() as stack:
        yield lambda name, receiver: connect(stack, name, world.app, receiver)


# What is told.


def test_signals_of_a_run_that_completes(world, clock, heard):
    run_id = world.start(Shop)
    run_until_idle()
    common = {"run_id": run_id, "workflow": "shop", "trigger": "go"}
    load = {"step": "load", "attempt": 1}
    ship = {"step": "ship", "attempt": 1}
    pending = {**common, "status": "pending", "current_step": "load"}
    loading = {**common, "status": "running", "current_step": "load"}
    shipping = {**common, "status": "running", "current_step": "ship"}
    done = {**common, "status": "completed", "current_step": None}
    assert heard.all == [
        ("run_created", pending),
        ("run_dispatched", pending),
        ("step_started", {**loading, **load}),
        ("run_transition", {**loading, "from_status": "pending", "to_status": "running"}),
        ("step_completed", {**shipping, **load, "duration": 0.0}),
        ("run_dispatched", shipping),
        ("step_started", {**shipping, **ship}),
        ("step_completed", {**done, **ship, "duration": 0.0}),
        ("run_transition", {**done, "from_status": "running", "to_status": "completed"}),
    ]


def test_duration_is_that_of_the_attempt_in_seconds(world, clock, heard):
    world.run(single(lambda: clock.advance(seconds=7.5) and None))
    (completed,) = heard.of("step_completed")
    assert completed["duration"] == 7.5


def test_failed_attempt_and_its_retry(world, clock, heard):
    run = world.run(single(fail, retry=Retry(2, fixed(30))))
    (failed,) = heard.of("step_failed")
    (retry,) = heard.of("step_retry_scheduled")
    assert (failed["step"], failed["attempt"], failed["status"]) == ("work", 1, "retrying")
    assert failed["error"] == run.step_runs[0].attempts[0].error
    assert set(failed["error"]) == {"code", "message", "type", "details", "retryable"}
    assert (retry["attempt"], retry["delay"], retry["status"]) == (1, 30.0, "retrying")
    assert heard.of("run_transition")[-1]["to_status"] == "retrying"


def test_final_failure_tells_the_step_that_failed(world, clock, heard):
    world.run(single(fail))
    (failed,) = heard.of("step_failed")
    assert (failed["status"], failed["current_step"]) == ("failed", "work")
    assert heard.of("step_retry_scheduled") == []
    assert heard.of("run_transition")[-1] == {
        **{key: failed[key] for key in COMMON},
        "from_status": "running",
        "to_status": "failed",
    }


def test_message_that_finds_nothing_to_do_is_a_skipped_step_with_its_reason(world, clock, heard):
    run = world.run(Shop)
    heard.forget()
    word = deliver(run.id, "load")
    (skipped,) = heard.of("step_skipped")
    assert heard.names == ["step_skipped"]
    assert skipped == {
        "run_id": run.id,
        "workflow": "shop",
        "trigger": "go",
        "status": "completed",
        "current_step": None,
        "step": "load",
        "attempt": 0,
        "reason": word,
    }


def test_lost_attempt_is_a_failed_one(world, clock, heard):
    run = world.run(single(lambda context: abandon(context.run_id, context.step), retry=Retry(2)))
    heard.forget()
    clock.advance(seconds=60)
    tick()
    assert heard.names == [
        "step_retry_scheduled",
        "step_failed",
        "run_transition",
        "run_dispatched",
    ]
    (failed,) = heard.of("step_failed")
    assert (failed["run_id"], failed["error"]["code"]) == (run.id, "worker_lost")
    assert (failed["duration"], failed["attempt"]) == (60.0, 1)


def test_replay_is_created_and_replayed(world, clock, heard):
    run = world.run(Shop)
    heard.forget()
    replayed = world.squidmesh.replay_run(run.id)
    assert heard.names == ["run_created", "run_replayed", "run_dispatched"]
    assert {values["run_id"] for _, values in heard.all} == {replayed.id}


def test_start_that_returns_an_earlier_run_tells_nothing(world, heard):
    world.start(Shop, idempotency_key="one")
    heard.forget()
    world.squidmesh.start_run(Shop, idempotency_key="one")
    assert heard.all == []


def test_cron_run_is_created_like_any_other(world, clock, heard):
    class Digest(Workflow):
        daily = cron("@hourly")
        work = step(lambda: None)
        transitions = [work >> complete]

    world.squidmesh.register(Digest)
    tick()
    clock.advance(seconds=3600)
    tick()
    assert heard.names == ["run_created", "run_dispatched"]
    assert {values["trigger"] for _, values in heard.all} == {"daily"}


def test_pause_decision_and_cancellation_are_transitions(world, clock, heard):
    class Review(Workflow):
        go = manual()
        review = approval()
        rest = wait(seconds=60)
        transitions = [review >> rest >> complete, review.on_error(complete)]

    run = world.run(Review)
    world.squidmesh.approve_run(run.id, actor="ada")
    world.squidmesh.cancel_run(run.id)
    moved = [(each["from_status"], each["to_status"]) for each in heard.of("run_transition")]
    assert moved == [
        ("pending", "running"),
        ("running", "paused"),
        ("paused", "running"),
        ("running", "cancelled"),
    ]
    assert [each["current_step"] for each in heard.of("run_transition")] == [
        "review",
        "review",
        "rest",
        None,
    ]


def test_every_signal_has_exactly_the_words_of_the_contract(world, clock, heard):
    def work(context):
        if context.attempt == 1:
            raise OSError

    source = world.run(single(work, retry=Retry(2, fixed(9))), advance=True)
    world.squidmesh.replay_run(source.id)
    deliver(source.id, "work")
    assert set(heard.names) == set(NAMES)
    for name, values in heard.all:
        assert set(values) == KEYS[name], name


def test_branches_of_a_dependency_workflow_are_told_without_a_current_step(world, heard):
    class Fan(Workflow):
        go = manual()
        one = step(lambda: None)
        two = step(lambda: None)
        join = step(lambda: None, after=[one, two])

    world.run(Fan)
    assert {values["current_step"] for _, values in heard.all} == {None}
    assert [values["step"] for values in heard.of("step_completed")] == ["one", "two", "join"]


@pytest.mark.parametrize("order", [("rest", "load", "after"), ("load", "rest", "after")])
def test_every_attempt_is_started_once_and_ended_once(world, clock, heard, order):
    known = {"load": step(lambda: None), "rest": wait(seconds=60), "after": step(lambda: None)}
    run = world.run(road("Resting", {name: known[name] for name in order}), advance=True)
    assert run.status == "completed"
    for name in ("step_started", "step_completed"):
        told = [(values["step"], values["attempt"]) for values in heard.of(name)]
        assert told == [(step_name, 1) for step_name in order]


# When it is told.


def test_what_is_told_is_committed(world, clock, receive, seen):
    def look(sender, run_id, status, **_):
        with db.engine.connect() as connection:
            query = sa.text("SELECT status FROM squidmesh_run_states WHERE run_id = :run_id")
            id_type = sa.bindparam("run_id", type_=sa.Uuid(as_uuid=False))
            seen.append((connection.scalar(query.bindparams(id_type), {"run_id": run_id}), status))

    for name in NAMES:
        receive(name, look)
    run = world.run(single(lambda: write("kept"), retry=Retry(2)))
    world.squidmesh.replay_run(run.id)
    assert len(seen) == 9
    assert [stored == told for stored, told in seen] == [True] * 9


def test_writes_of_a_step_are_committed_before_it_is_told(world, receive, seen):
    receive("step_completed", lambda _, **__: seen.append(notes()))
    world.run(single(lambda: write("kept")))
    assert seen == [["kept"]]


def test_run_of_a_session_is_told_after_the_commit_of_the_host(world, heard):
    world.squidmesh.register(Shop)
    world.squidmesh.start_run(Shop, session=db.session)
    assert heard.all == []
    db.session.commit()
    assert heard.names == ["run_created", "run_dispatched"]


def test_run_of_a_session_that_is_rolled_back_is_never_told(world, heard):
    world.squidmesh.register(Shop)
    world.squidmesh.start_run(Shop, session=db.session)
    db.session.rollback()
    write("later")
    db.session.commit()
    assert (heard.all, world.count_runs()) == ([], 0)


def begin() -> None:
    """Begin with a write: without one Python's sqlite3 takes a savepoint for the transaction."""
    write("begun")
    db.session.flush()


def test_run_in_a_savepoint_that_is_rolled_back_is_never_told(world, heard):
    world.squidmesh.register(Shop)
    begin()
    savepoint = db.session.begin_nested()
    world.squidmesh.start_run(Shop, session=db.session)
    savepoint.rollback()
    db.session.commit()
    assert (heard.all, world.count_runs(), notes()) == ([], 0, ["begun"])


def test_run_in_a_released_savepoint_is_told_after_the_outer_commit(world, heard):
    world.squidmesh.register(Shop)
    begin()
    with db.session.begin_nested():
        world.squidmesh.start_run(Shop, session=db.session)
    assert heard.all == []
    db.session.commit()
    assert heard.names == ["run_created", "run_dispatched"]


def test_attempt_that_was_taken_over_tells_nothing(world, clock, heard):
    def work(context):
        if context.attempt == 1:
            clock.advance(seconds=60)
            tick()
            heard.forget()

    run_id = world.start(single(work))
    deliver(run_id, "work")
    assert heard.all == []


# Who is told.


def test_sender_is_the_application_and_others_hear_nothing(url, world, heard):
    with make_world(url) as other:
        other.start(Shop)
        assert heard.all == []
        assert heard.names == []
    with freeze(NOON):
        world.start(Shop)
    assert heard.names == ["run_created", "run_dispatched"]


def test_receiver_that_fails_is_logged_and_breaks_nothing(world, receive, caplog, seen):
    def broken(sender, **_):
        raise LookupError("receiver")

    for name in NAMES:
        receive(name, broken)
        receive(name, lambda _, **__: seen.append("told"))
    run = world.run(single(lambda: write("kept")))
    assert (run.status, notes()) == ("completed", ["kept"])
    failures = [each for each in caplog.records if each.name == "flask_squidmesh.signals"]
    assert len(failures) == len(seen) > 0
    assert {each.levelname for each in failures} == {"ERROR"}
    assert all(each.exc_info and each.exc_info[0] is LookupError for each in failures)


def test_receiver_that_fails_does_not_break_the_commit_of_the_host(world, receive):
    def broken(sender, **_):
        raise LookupError("receiver")

    receive("run_created", broken)
    world.squidmesh.register(Shop)
    write("before")
    run = world.squidmesh.start_run(Shop, session=db.session)
    db.session.commit()
    assert (notes(), world.see(run.id).status) == (["before"], "pending")
    write("after")
    db.session.commit()
    assert notes() == ["after", "before"]


def test_receivers_can_use_the_session_of_the_host(world, receive):
    def keep(sender, status, **_):
        db.session.add(Note(text=f"seen {status} {len(notes())}"))
        db.session.commit()

    receive("run_transition", keep)
    world.run(Shop)
    assert notes() == ["seen completed 1", "seen running 0"]


def test_receivers_can_use_the_very_session_that_was_committed(world, receive, seen):
    def keep(sender, run_id, **_):
        seen.append(db.session.scalar(sa.select(sa.func.count()).select_from(Note)))
        write("by the receiver")
        db.session.commit()

    receive("run_created", keep)
    world.squidmesh.register(Shop)
    write("by the caller")
    world.squidmesh.start_run(Shop, session=db.session)
    db.session.commit()
    assert (seen, notes()) == ([1], ["by the caller", "by the receiver"])


def test_receivers_can_start_another_run(world, receive, seen):
    def follow(sender, run_id, to_status, **_):
        if to_status == "completed" and not seen:
            seen.append(world.squidmesh.replay_run(run_id).id)

    receive("run_transition", follow)
    world.run(Shop)
    run_until_idle()
    assert world.see(seen[0]).status == "completed"

"""A step's own database work: committed with the step, or not at all."""

from __future__ import annotations

import sqlalchemy as sa

from flask_squidmesh import Retry, Workflow, complete, fixed, manual, step
from flask_squidmesh.testing import execute_next, run_until_idle
from tests.contract.host import Note, attempts, db, notes, single, step_run, step_state, write


def test_writes_are_committed_with_the_step(world, seen):
    def work():
        write("work")
        db.session.flush()
        seen.append(notes())

    run_id = world.start(single(work))
    execute_next()
    assert (seen, notes(), world.see(run_id).status) == ([[]], ["work"], "completed")


def test_unflushed_objects_are_committed_with_the_step(world):
    world.run(single(lambda: write("work")))
    assert notes() == ["work"]


def test_statements_without_the_orm_are_committed_with_the_step(world):
    def work():
        db.session.execute(sa.insert(Note), {"text": "core"})

    world.run(single(work))
    assert notes() == ["core"]


def test_uncommitted_writes_of_a_failing_step_are_rolled_back(world, clock):
    def fail_once(context):
        write(f"attempt {context.attempt}")
        if context.attempt == 1:
            raise OSError

    world.run(single(fail_once, retry=Retry(2, fixed(1))), advance=True)
    assert notes() == ["attempt 2"]


def test_what_a_step_has_committed_itself_stays(world):
    def commit_and_fail():
        write("committed")
        db.session.commit()
        write("not committed")
        raise OSError

    assert world.run(single(commit_and_fail)).status == "failed"
    assert notes() == ["committed"]


def test_only_what_is_uncommitted_takes_part(world):
    def work():
        write("early")
        db.session.commit()
        write("late")

    assert world.run(single(work)).status == "completed"
    assert notes() == ["early", "late"]


def test_step_may_roll_back_and_go_on(world):
    def work():
        write("wrong")
        db.session.rollback()
        write("right")

    assert world.run(single(work)).status == "completed"
    assert notes() == ["right"]


def test_savepoints_of_a_step_are_its_own(world):
    def work():
        write("outer")
        savepoint = db.session.begin_nested()
        write("inner")
        savepoint.rollback()

    assert world.run(single(work)).status == "completed"
    assert notes() == ["outer"]


def test_constraint_broken_at_the_flush_is_the_failure_of_the_step(world):
    def work():
        write("same")
        write("same")

    run = world.run(single(work))
    error = step_state(run, "work").last_error
    assert error is not None
    assert (run.status, error["type"]) == ("failed", "sqlalchemy.exc.IntegrityError")
    assert (notes(), attempts(run, "work")) == ([], [(1, "failed")])


def test_constraint_broken_at_the_flush_is_retried_like_any_failure(world, clock):
    def work(context):
        write("same")
        if context.attempt == 1:
            write("same")

    run = world.run(single(work, retry=Retry(2, fixed(1))), advance=True)
    assert (run.status, notes()) == ("completed", ["same"])
    assert attempts(run, "work") == [(1, "failed"), (2, "completed")]


def test_output_that_is_refused_takes_the_writes_with_it(world):
    def work():
        write("lost")
        return {"not json": {1}}

    assert world.run(single(work)).status == "failed"
    assert notes() == []


def test_session_that_only_read_is_no_trouble(world, seen):
    run = world.run(single(lambda: seen.append(db.session.scalars(sa.select(Note)).all())))
    assert (run.status, seen) == ("completed", [[]])


def test_no_session_is_made_for_a_step_that_uses_none(world, seen):
    class Two(Workflow):
        go = manual()
        first = step(lambda: None)
        second = step(lambda: seen.append(db.session.registry.has()))
        transitions = [first >> second >> complete]

    world.run(Two)
    assert seen == [False]


def test_session_of_a_step_is_not_that_of_the_caller(world):
    write("of the caller")
    run_id = world.start(single(lambda: None))
    run_until_idle()
    assert (world.see(run_id).status, notes()) == ("completed", [])
    db.session.rollback()


def test_each_step_has_a_session_of_its_own(world, seen):
    class Two(Workflow):
        go = manual()
        first = step(lambda: seen.append(db.session()))
        second = step(lambda: seen.append(db.session()))
        transitions = [first >> second >> complete]

    world.run(Two)
    first, second = seen
    assert first is not second


# Opting out.


def test_step_that_opted_out_keeps_what_it_committed(world, caplog):
    def work():
        write("committed")
        db.session.commit()

    assert world.run(single(work, transaction=False)).status == "completed"
    assert notes() == ["committed"]
    assert "transaction=False" not in caplog.text


def test_uncommitted_writes_of_a_step_that_opted_out_are_rolled_back_with_a_warning(world, caplog):
    run = world.run(single(lambda: write("lost"), transaction=False))
    assert (run.status, notes()) == ("completed", [])
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert "step work " in record.getMessage()
    assert "transaction=False" in record.getMessage()


def test_flushed_writes_of_a_step_that_opted_out_are_warned_about_too(world, caplog):
    def work():
        write("lost")
        db.session.flush()
        return {"done": True}

    run = world.run(single(work, transaction=False))
    assert (step_run(run, "work").output, notes()) == ({"done": True}, [])
    assert "transaction=False" in caplog.text


def test_reading_in_a_step_that_opted_out_is_not_warned_about(world, caplog):
    def work():
        db.session.scalars(sa.select(Note)).all()

    assert world.run(single(work, transaction=False)).status == "completed"
    assert "transaction=False" not in caplog.text


def test_heartbeat_does_not_wait_for_the_steps_own_transaction(world, seen):
    def work(context):
        write("uncommitted")
        db.session.flush()
        seen.append(context.heartbeat())

    run = world.run(single(work))
    assert (run.status, seen, notes()) == ("completed", [True], ["uncommitted"])

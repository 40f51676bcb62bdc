"""The statement that ends a run begins the next one, for a worker that knows of one that waits.

Only where the database can, which is PostgreSQL; elsewhere the worker takes the
same runs one statement after the other. What is known of a run is a hint, and
comes to nothing, or back, when the run is not to be had.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong

import pytest
import sqlalchemy as sa

from flask_squidmesh import Workflow, complete, manual, step, testing
from flask_squidmesh.current import state
from flask_squidmesh.engine import keep
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.lifecycle.states import RunEvent
from flask_squidmesh.store import contexts, models, runs
from flask_squidmesh.testing import abandon, tick
from tests.contract.conftest import NOON
from tests.contract.host import attempts, db, notes, path, write
from tests.contract.shapes import road


class Quick(Workflow):
    go = manual()
    work = step(lambda: {"done": True})
    transitions = [work >> complete]


class Writing(Workflow):
    go = manual()
    work = step(lambda: write("written"))
    transitions = [work >> complete]


class Chain(Workflow):
    go = manual()
    first = step(lambda: {"first": 1})
    second = step(lambda: {"second": 2})
    transitions = [first >> second >> complete]


@pytest.fixture
def in_one_statement(world):
    if db.engine.dialect.name != "postgresql":
        pytest.skip("a statement is about one run here")


def know(run_id, step_name="work"):
    """Have this process know of a run that waits, as the next."""
    state().engine()._runtime.backlog.give_back(Ring(run_id, step_name, begins=True))


def known():
    """Return the runs that this process still knows of, and forget them."""
    found = []
    while (ring := state().engine().take_waiting()) is not None:
        found.append(ring.run_id)
    return found


def deliver(run_id, step_name="work", *, may_continue=lambda: True, other_runs=True):
    """Do what a worker does about a message, and go on with other runs."""
    return (
        state()
        .engine()
        .deliver(
            run_id,
            step_name,
            may_continue=may_continue,
            after_commit=lambda _news: None,
            other_runs=other_runs,
        )
    )


def statuses(world, *run_ids):
    return [world.see(run_id).status for run_id in run_ids]


def test_one_run_after_the_other(world, in_one_statement):
    first, second, third = world.start(Quick), world.start(Chain), world.start(Quick)
    know(second, step_name="first")
    know(third)
    assert deliver(first) == "executed"
    assert statuses(world, first, second, third) == ["completed"] * 3
    assert path(world.see(second)) == ["first", "second"]
    assert {len(world.see(run_id).step_runs or ()) for run_id in (first, third)} == {1}
    assert attempts(world.see(third), "work") == [(1, "completed")]
    assert known() == []


def test_elsewhere_and_with_writes_of_the_host_it_stays_known(world):
    first, second = world.start(Writing), world.start(Quick)
    know(second)
    deliver(first)
    assert (statuses(world, first, second), notes()) == (["completed", "pending"], ["written"])
    assert known() == [second]


@pytest.mark.parametrize(
    ("may_continue", "other_runs"), [(False, True), (True, False), (False, False)]
)
def test_only_a_worker_that_may_does_it(world, may_continue, other_runs):
    first, second = world.start(Quick), world.start(Quick)
    know(second)
    deliver(first, may_continue=lambda: may_continue, other_runs=other_runs)
    assert statuses(world, first, second) == ["completed", "pending"]
    assert known() == [second]


def test_run_that_has_ended_leaves_the_end_of_the_last_alone(world):
    first, second = world.start(Quick), world.start(Quick)
    world.squidmesh.cancel_run(second)
    know(second)
    deliver(first)
    assert statuses(world, first, second) == ["completed", "cancelled"]
    assert known() == [second]
    assert deliver(second) == "finished"


def test_code_that_is_gone_leaves_the_run_to_the_ordinary_way(world):
    first, second = world.start(Quick), world.start(Quick)
    with db.engine.begin() as connection:
        yesterday = {"fingerprint": "of_yesterday", "workflow": "quick", "document": "{}"}
        connection.execute(sa.insert(models.definitions).values(**yesterday, created_at=NOON))
        its = sa.update(models.runs).where(models.runs.c.id == second)
        connection.execute(its.values(fingerprint="of_yesterday"))
    know(second)
    deliver(first)
    assert statuses(world, first) == ["completed"]
    with db.engine.connect() as connection:
        at = models.run_states.c.run_id == second
        assert connection.scalar(sa.select(models.run_states.c.status).where(at)) == "pending"
    assert known() == [second]


def test_attempt_that_was_taken_over_begins_nothing(world, clock):
    """The run and the branch are running, as they were for the zombie: only the token differs."""
    second: list[str] = []

    def work(context):
        if context.attempt > 1:
            abandon(context.run_id, context.step)
        clock.advance(seconds=60)
        tick()
        assert testing.deliver(context.run_id, context.step) == "executed"
        second.append(world.start(Quick))
        know(second[0])

    first = world.start(road("Flow", {"work": step(work)}))
    deliver(first)
    assert statuses(world, first, *second) == ["running", "pending"]
    assert known() == second


@pytest.mark.parametrize("table", [models.run_states, models.branches])
def test_run_that_somebody_has_locked_is_not_waited_for(world, in_one_statement, table):
    first, second = world.start(Quick), world.start(Quick)
    know(second)

    def work():
        with world.app.app_context():
            deliver(first)

    with ThreadPoolExecutor(1) as pool, db.engine.connect() as connection:
        connection.execute(
            sa.select(table.c.run_id).where(table.c.run_id == second).with_for_update()
        )
        worked = pool.submit(work)
        try:
            worked.result(20)
        except TooLong:
            pytest.fail("the worker waits for a lock")
        finally:
            connection.rollback()
    assert statuses(world, first, second) == ["completed", "pending"]
    assert known() == [second]


def test_cancellation_of_the_last_run_begins_nothing(world):
    """It was requested while the last step executed: the general path ends the run."""

    def work(context):
        with db.engine.begin() as connection:
            assert runs.lock(connection, context.run_id) is not None
            request = RunEvent.REQUEST_CANCEL
            assert runs.move(connection, context.run_id, request, now=NOON, error=None)

    first, second = world.start(road("Flow", {"work": step(work)})), world.start(Quick)
    know(second)
    deliver(first)
    assert statuses(world, first, second) == ["cancelled", "pending"]
    assert known() == [second]


def test_context_of_a_long_run_is_kept_before_anything_else_begins(world, monkeypatch):
    monkeypatch.setattr(keep, "LONG", 2)
    first, second = world.start(Chain), world.start(Quick)
    know(second)
    deliver(first, "first")
    with db.engine.connect() as connection:
        assert list(contexts.of_runs(connection, [first])) == [first]
    assert statuses(world, first, second) == ["completed", "pending"]


def test_late_step_is_a_sign_of_others_here_too(world, clock, in_one_statement):
    first, second, third = world.start(Quick), world.start(Quick), world.start(Quick)
    deliver(first)
    clock.advance(seconds=1)
    fourth = world.start(Quick)
    know(second)
    # Punctual itself, it goes on with one that was late.
    deliver(fourth)
    assert statuses(world, second, third, fourth) == ["completed", "pending", "completed"]
    assert known() == [third]

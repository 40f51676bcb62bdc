"""What happens between two statements of somebody else, at exactly that point.

Where the races of `test_races` leave the order to chance, these name it: when a
connection is about to execute a certain statement, somebody else acts first, on
a connection of its own, and commits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import InvalidTransition, Retry, Workflow, complete, fixed, manual, step
from flask_squidmesh.clock import wait_until
from flask_squidmesh.lifecycle.states import RunEvent
from flask_squidmesh.store import runs
from flask_squidmesh.testing import abandon, deliver, freeze, tick
from tests.concurrency.racers import NOON, Review
from tests.contract.host import attempts, audit, db, path, single
from tests.contract.shapes import road
from tests.contract.test_siblings import deliver as go_through
from tests.contract.test_siblings import fan_out

LOCK = "FOR UPDATE"
"""What the first statement of every transaction about a run contains, on PostgreSQL."""


@contextmanager
def before_lock(world, act, *, number=1) -> Iterator[None]:
    """Call *act* in another thread before this thread takes the run's lock for that time."""
    here = threading.get_ident()
    met: list[str] = []

    def act_elsewhere():
        with world.app.app_context():
            act()

    def look(connection, cursor, statement, *_):
        if LOCK not in statement or threading.get_ident() != here:
            return
        met.append(statement)
        if len(met) == number:
            other = threading.Thread(target=act_elsewhere)
            other.start()
            other.join(30)

    sa.event.listen(db.engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", look)
    assert len(met) >= number


@pytest.fixture
def flow(world):
    """A workflow whose first two attempts lose their workers."""

    def work(context):
        held.append(context)
        if context.attempt <= 2:
            abandon(context.run_id, context.step)
        return {"attempt": context.attempt}

    class Lost(Workflow):
        go = manual()
        work_on = step(work, retry=Retry(5, fixed(10)))
        after = step(lambda: None)
        transitions = [work_on >> after >> complete]

    held: list[Any] = []
    world.squidmesh.register(Lost)
    return Lost, held


def test_heartbeat_between_the_look_and_the_lock_keeps_the_lease(world, flow):
    workflow, held = flow
    beats: list[bool] = []
    with freeze(NOON) as clock:
        run_id = world.squidmesh.start_run(workflow).id
        deliver(run_id, "work_on")
        clock.advance(seconds=60)
        with before_lock(world, lambda: beats.append(held[0].heartbeat())):
            assert tick().expired == 0
        assert beats == [True]
        assert attempts(world.see(run_id), "work_on") == [(1, "running")]
        clock.advance(seconds=60)
        assert tick().expired == 1


def test_other_ticker_between_the_look_and_the_lock_takes_over_once(world, flow):
    workflow, _ = flow
    with freeze(NOON) as clock:
        run_id = world.squidmesh.start_run(workflow).id
        deliver(run_id, "work_on")
        clock.advance(seconds=60)

        expired: list[int] = []
        with before_lock(world, lambda: expired.append(tick().expired)):
            expired.append(tick().expired)
        assert expired == [1, 0]
        assert attempts(world.see(run_id), "work_on") == [(1, "abandoned")]


def test_next_attempt_between_the_look_and_the_lock_is_left_alone(world, flow):
    """The lease that was seen to run out is another's by the time the lock is held."""
    workflow, _ = flow
    with freeze(NOON) as clock:
        run_id = world.squidmesh.start_run(workflow).id
        deliver(run_id, "work_on")
        clock.advance(seconds=60)

        def others():
            tick()
            clock.advance(seconds=10)
            words.append(deliver(run_id, "work_on"))

        words: list[str] = []
        with before_lock(world, others):
            assert tick().expired == 0
        run = world.see(run_id)
        assert (words, run.status) == (["executed"], "running")
        assert attempts(run, "work_on") == [(1, "abandoned"), (2, "running")]


@pytest.mark.parametrize("last", [True, False])
def test_cancellation_right_before_the_settlement_is_not_overwritten(world, last):
    """Also where the settlement is a single statement, which asks for the status itself."""
    cancelled: list[str] = []

    steps = {"work_on": step(lambda: {"done": True}), "after": step(lambda: None)}
    if last:
        del steps["after"]
    workflow = road("Short", steps)
    run_id = world.start(workflow)

    def cancel():
        cancelled.append(world.squidmesh.cancel_run(run_id).status)

    # The claim takes the first lock, the settlement the second.
    with before_lock(world, cancel, number=2):
        assert deliver(run_id, "work_on") == "executed"
    run = world.see(run_id)
    assert (cancelled, run.status) == (["cancelling"], "cancelled")
    assert (path(run), run.context) == (["work_on"], {})
    assert audit(run) == [("cancelled", "work_on")]


def test_decision_of_another_between_the_call_and_the_lock_wins(world):
    run_id = world.run(Review).id

    def reject():
        world.squidmesh.reject_run(run_id, actor="grace")

    with before_lock(world, reject), pytest.raises(InvalidTransition) as refused:
        world.squidmesh.approve_run(run_id, actor="ada")
    assert (refused.value.current, refused.value.requested) == ("running", "approve")
    assert audit(world.see(run_id)) == [("paused", "review"), ("rejected", "review")]


def waits_for_a_lock() -> bool:
    """Return whether somebody waits for a lock in this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with db.engine.connect() as connection:
        return bool(connection.scalar(sa.text(f"{query} AND datname = current_database()")))


@contextmanager
def cancelled_meanwhile(world) -> Iterator[Any]:
    """Give a step function that has its run cancelled, committed while its settlement waits."""
    open_cancellation: list[sa.Connection] = []

    def work(context):
        connection = db.engine.connect()
        assert runs.lock(connection, context.run_id) is not None
        request = RunEvent.REQUEST_CANCEL
        assert runs.move(connection, context.run_id, request, now=NOON, error=None)
        open_cancellation.append(connection)

    def commit():
        with world.app.app_context():
            assert wait_until(lambda: bool(open_cancellation) and waits_for_a_lock(), timeout=30)
            open_cancellation[0].commit()
            open_cancellation[0].close()

    with ThreadPoolExecutor(1) as pool:
        committed = pool.submit(commit)
        yield work
        committed.result(30)


def test_cancellation_during_the_single_statement_is_not_overwritten(world):
    """The settlement begins before the cancellation is committed, and waits for it."""
    with cancelled_meanwhile(world) as work:
        run_id = world.start(single(work))
        assert deliver(run_id, "work") == "executed"
    run = world.see(run_id)
    assert (run.status, run.step_runs[0].outcome) == ("cancelled", None)


def test_cancellation_during_the_statement_of_a_branch_is_not_overwritten(world):
    """The same where it would go on with another branch."""
    with cancelled_meanwhile(world) as work:
        run_id = world.start(fan_out(3, branch_0=step(work, after=["root"])))
        go_through(run_id, "root", turns=0)
        go_through(run_id, "branch_0")
    run = world.see(run_id)
    assert run.status == "cancelling"
    assert [(s.step, s.outcome) for s in run.step_runs if s.attempts][1:] == [("branch_0", None)]


def test_cancellation_during_the_first_claim_is_not_overwritten(world):
    """The claim begins before the cancellation is committed, and waits for it."""
    executed: list[str] = []
    run_id = world.start(single(lambda: executed.append("work")))
    cancellation = db.engine.connect()
    assert runs.lock(cancellation, run_id) is not None
    assert runs.move(cancellation, run_id, RunEvent.CANCEL, now=NOON, error=None)

    def commit():
        with world.app.app_context():
            assert wait_until(waits_for_a_lock, timeout=30)
            cancellation.commit()
            cancellation.close()

    with ThreadPoolExecutor(1) as pool:
        committed = pool.submit(commit)
        assert deliver(run_id, "work") == "run_not_active"
        committed.result(30)
    assert (world.see(run_id).status, executed) == ("cancelled", [])

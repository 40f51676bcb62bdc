"""The ticker with many rows: bounded rounds, no more messages than steps, quiet when idle."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from celery import Celery

from flask_squidmesh import Workflow, complete, cron, manual, step
from flask_squidmesh.clock import wait_until
from flask_squidmesh.current import state
from flask_squidmesh.dispatch import doorbell_of
from flask_squidmesh.dispatch.threads import HelperThreads
from flask_squidmesh.dispatch.ticker import LIMIT
from flask_squidmesh.dispatch.ticker import tick as tick_once
from flask_squidmesh.engine.scene import GRACES
from flask_squidmesh.ids import new_id
from flask_squidmesh.store import branches as store
from flask_squidmesh.store.models import branches
from flask_squidmesh.testing import freeze
from flask_squidmesh.types import TickResult
from tests.contract.host import attempts, db
from tests.load.conftest import asking, database_time
from tests.load.plans import read_by
from tests.load.rows import Sleeper, insert_running, insert_waiting

MANY = 5 * LIMIT


@pytest.fixture
def world(open_world):
    """The application as production has it, with a broker in memory."""
    celery = Celery("load", broker="memory://", set_as_current=False)
    opened = open_world(
        SQUIDMESH_DISPATCH="celery", SQUIDMESH_QUEUE=new_id(), SQUIDMESH_TICK_INTERVAL=0.1
    )
    opened.app.extensions["celery"] = celery
    opened.squidmesh.register(Sleeper)
    yield opened
    doorbell_of(opened.app).close()


def fill(count, *, due_in=0.0, insert=insert_waiting):
    with db.engine.begin() as connection:
        insert(connection, count, due_at=database_time(seconds=due_in))


def messages(world):
    return doorbell_of(world.app).depth()


def graces():
    """Return, of all rows, in how many seconds the ticker comes back to them."""
    with db.engine.connect() as connection:
        rows = connection.execute(sa.select(branches.c.due_at, branches.c.rung_at)).all()
    return sorted({round((due - rung).total_seconds()) for due, rung in rows if rung})


def test_round_takes_no_more_than_its_limit(world):
    fill(MANY)
    for number in range(1, MANY // LIMIT + 1):
        with asking() as asked:
            result, is_full = tick_once(world.app)
        assert (result, is_full) == (TickResult(due=LIMIT), True)
        assert messages(world) == LIMIT * number
        # Look, ring for all at once, and read whom the signals are about.
        assert len(asked) == 3
    assert tick_once(world.app) == (TickResult(), False)
    assert messages(world) == MANY


def test_lease_that_ran_out_is_seen_before_any_timer(world):
    fill(MANY, due_in=-60)
    fill(1, insert=insert_running)
    result, _ = tick_once(world.app)
    assert (result.expired, result.due) == (1, LIMIT - 1)


def test_round_reads_no_more_than_it_takes(world):
    """However much is due: on PostgreSQL the rows that its one query reads are counted."""
    if db.engine.dialect.name != "postgresql":
        return
    fill(MANY, due_in=-60)
    fill(20, due_in=3600, insert=insert_running)
    fill(1, due_in=-1, insert=insert_running)
    with db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
    executed = []

    def note(_connection, _cursor, statement, parameters, *_):
        executed.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        with db.engine.connect() as connection:
            _, due = store.list_due(connection, at=None, limit=LIMIT)
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
    assert (len(due), due[0].status) == (LIMIT, "running")
    ((statement, parameters),) = executed
    with db.engine.connect() as connection:
        explained = "EXPLAIN (ANALYZE, FORMAT JSON) " + statement
        (plan,) = connection.exec_driver_sql(explained, parameters).scalar_one()
    assert sum(rows for _, rows in read_by(plan["Plan"])) <= LIMIT + 2


def test_message_that_nobody_took_is_sent_again_ever_more_seldom(world):
    """With nothing in the queue: each one was lost."""
    fill(1)
    with freeze(database_time()) as clock:
        for grace in (*GRACES, GRACES[-1], GRACES[-1]):
            with doorbell_of(world.app).unreachable():
                assert state().engine().tick()[0].due == 1
                assert graces() == [grace.total_seconds()]
                clock.advance(seconds=grace.total_seconds() - 1)
                assert state().engine().tick()[0].due == 0
                clock.advance(seconds=1)


def test_messages_do_not_multiply_while_a_backlog_exists(world):
    """Nobody takes anything for an hour: a step has at most one message per longest grace."""
    fill(MANY)
    with freeze(database_time()) as clock:
        sent = []
        for _ in range(3600 // 5):
            while tick_once(world.app)[1]:
                pass
            sent.append(messages(world))
            clock.advance(seconds=5)
    print(f"{MANY} steps, an hour without a worker: {sent[-1]} messages")
    # A queue of a thousand should be through in 20 seconds; then some may be lost after all. The
    # longer it is, the longer its messages are waited for, and no more than 5 minutes.
    assert sent[: 20 // 5] == [MANY] * 4
    assert sent[-1] <= MANY * (3 + 3600 / GRACES[-1].total_seconds())


def test_step_that_was_rung_before_the_backlog_is_put_off_with_it(world):
    run_ids = [world.start(Sleeper) for _ in range(3)]
    before = messages(world)
    assert before == 3
    with freeze(database_time()) as clock:
        clock.advance(seconds=GRACES[0].total_seconds() + 1)
        result, news = state().engine().tick(backlog=10_000)
        assert (result.due, news.rings) == (3, ())
        clock.advance(seconds=10_000 / 50)
        result, news = state().engine().tick(backlog=10_000)
        assert sorted(ring.run_id for ring in news.rings) == sorted(run_ids)


def test_run_that_cannot_be_read_keeps_no_other_from_being_helped(world, caplog):
    """Of a later release, perhaps, whose definitions this one does not understand."""

    class Odd(Workflow):
        go = manual()
        work = step(lambda: None)
        transitions = [work >> complete]

    odd = world.start(Odd)
    fill(2, due_in=-1, insert=insert_running)
    with db.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE squidmesh_definitions SET document = '{\"odd\": 1}' WHERE workflow = 'odd'"
        )
        connection.execute(
            sa.update(branches)
            .where(branches.c.run_id == odd)
            .values(status="running", due_at=database_time(seconds=-2), started_at=database_time())
        )
    state().engine()._runtime._definitions.clear()
    assert tick_once(world.app)[0].expired == 2
    assert odd in caplog.text
    with db.engine.begin() as connection:
        connection.execute(
            sa.update(branches).where(branches.c.run_id == odd).values(status="pending")
        )
    fill(2)
    assert tick_once(world.app)[0].due >= 3


def test_idle_process_asks_at_most_once_per_interval(world):
    """Ticker and heartbeat as a worker carries them, with timers, pauses and cron around."""

    class Yearly(Workflow):
        new_year = cron("0 0 1 1 *")
        work = step(lambda: None)
        transitions = [work >> complete]

    world.squidmesh.register(Yearly)
    fill(MANY, due_in=3600)
    tick_once(world.app)
    helpers = HelperThreads(world.app)
    helpers.start()
    try:
        # Around traffic, of which the start is one, it also looks for lost messages.
        looks = state().settings.tick_interval * 40
        assert not wait_until(lambda: False, timeout=looks)
        with asking() as asked:
            began = time.monotonic()
            assert wait_until(lambda: len(asked) >= 20, timeout=30)
            took = time.monotonic() - began
    finally:
        helpers.stop(timeout=10)
    assert set(asked.statements) == {asked.statements[0]}
    assert len(asked) <= took / state().settings.tick_interval + 2


def test_rounds_hold_on_to_nothing(world):
    """What the process keeps in mind does not grow with what was due."""
    import gc
    import tracemalloc

    fill(LIMIT)
    with freeze(database_time()) as clock:

        def one_round():
            assert state().engine().tick(limit=LIMIT)[0].due == LIMIT
            clock.advance(seconds=301)

        for _ in range(10):
            one_round()
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(30):
                one_round()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    print(f"grown by {(after - before) / 1024:.1f} KiB in 30 rounds of {LIMIT}")
    assert after - before < 200 * 1024


def test_ring_of_a_timer_leads_to_its_step(world):
    """What was put into the tables by the test is what the engine itself would have there."""
    fill(1)
    _, news = state().engine().tick()
    (ring,) = news.rings
    assert (
        state()
        .engine()
        .deliver(ring.run_id, ring.step, may_continue=lambda: True, after_commit=lambda _news: None)
        == "executed"
    )
    run = world.see(ring.run_id)
    assert run.status == "completed"
    assert attempts(run, "rest") == [(1, "completed")]

"""Messages are left out while enough wait, and only those that somebody makes up for."""

from __future__ import annotations

import pytest
from celery import Celery

from flask_squidmesh.dispatch import delivery, doorbell_of
from flask_squidmesh.dispatch.enough import ASKED_AFTER, ENOUGH, Enough
from flask_squidmesh.dispatch.shutdown import ShutdownFlag
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.ids import new_id
from tests.dispatch.doubles import SteppedClock, make_app, state_of

RUN = new_id()


def beginning(count=1):
    return [Ring(new_id(), "load", begins=True) for _ in range(count)]


class Queue:
    """How many messages wait, as the broker says, and how often it was asked."""

    def __init__(self, waiting):
        self.waiting = waiting
        self.asked = 0

    def depth(self):
        self.asked += 1
        return self.waiting


def told(waiting, *, clock):
    """Return what a process knows that has sent some messages to a queue of that length."""
    enough, queue = Enough(clock), Queue(waiting)
    enough.note(beginning(ASKED_AFTER), queue.depth)
    assert queue.asked == 1
    return enough


def test_nobody_asks_for_the_sake_of_a_few_messages():
    enough, queue = Enough(SteppedClock()), Queue(ENOUGH)
    enough.note(beginning(ASKED_AFTER - 1), queue.depth)
    enough.note([Ring(new_id(), "later")] * ASKED_AFTER, queue.depth)
    assert queue.asked == 0
    enough.note(beginning(), queue.depth)
    assert queue.asked == 1


@pytest.mark.parametrize(("waiting", "left_out"), [(0, 0), (ENOUGH - 1, 0), (ENOUGH, 3)])
def test_runs_that_begin_are_left_out_while_enough_messages_wait(waiting, left_out):
    enough = told(waiting, clock=SteppedClock())
    assert len(enough.needed(beginning(3))) == 3 - left_out


def test_what_nobody_finds_by_himself_always_has_its_message():
    enough = told(10 * ENOUGH, clock=SteppedClock())
    others = [Ring(new_id(), "decided"), Ring(new_id(), "retried")]
    assert enough.needed([others[0], *beginning(), others[1]]) == others


def test_an_answer_is_relied_on_for_less_than_the_queue_takes_to_empty():
    clock = SteppedClock()
    enough, queue = told(ENOUGH, clock=clock), Queue(0)
    clock.advance(ENOUGH / 2000 - 0.001)
    assert enough.needed(beginning()) == []
    clock.advance(0.001)
    sent = enough.needed(beginning())
    assert len(sent) == 1
    # What was relied on is over: the next message sent brings a new answer.
    enough.note(sent, queue.depth)
    assert queue.asked == 1
    assert len(enough.needed(beginning(5))) == 5


def test_queue_grows_with_the_workers_and_not_with_the_work():
    app = make_app(Celery(set_as_current=False, broker="memory://"), queue=new_id())
    bell = doorbell_of(app)
    for ring in beginning(50 * ENOUGH):
        assert bell.ring([ring]) == {ring.run_id}
    depth = bell.depth()
    assert depth is not None
    assert ENOUGH <= depth < 3 * ENOUGH
    bell.close()


def deliver_message(app):
    celery = state_of(app).celery()
    celery.finalize()
    celery.tasks["squidmesh.run_step"].run(RUN, "load")


@pytest.fixture
def celery():
    return Celery("tests", set_as_current=False, broker="memory://")


def test_runs_that_wait_are_executed_with_the_message_that_finds_them(celery):
    app = make_app(celery)
    waiting = beginning(2)
    state_of(app).memory.waiting = list(waiting)
    deliver_message(app)
    assert state_of(app).memory.delivered == [(RUN, "load"), *((r.run_id, r.step) for r in waiting)]
    assert state_of(app).memory.may_take_runs == [True] * 3


def test_worker_that_gives_way_rings_for_one_that_waits(celery):
    clock = SteppedClock()
    app = make_app(celery, clock=clock, inline_budget=5, queue=new_id())
    first, second, third = beginning(3)
    state_of(app).memory.waiting = [first, second, third]
    state_of(app).memory.executing = lambda: clock.advance(3)
    deliver_message(app)
    assert state_of(app).memory.delivered == [(RUN, "load"), (first.run_id, first.step)]
    assert state_of(app).memory.waiting == [third]
    assert doorbell_of(app).depth() == 1
    doorbell_of(app).close()


def test_worker_that_shuts_down_takes_nothing_that_waits(celery):
    app = make_app(celery, queue=new_id())
    flag = doorbell_of(app).closing = ShutdownFlag()
    flag.set()
    state_of(app).memory.waiting = beginning()
    deliver_message(app)
    assert state_of(app).memory.delivered == [(RUN, "load")]
    assert doorbell_of(app).depth() == 1
    doorbell_of(app).close()


def test_without_a_budget_a_message_is_about_its_step_alone(celery):
    app = make_app(celery, inline_budget=0)
    state_of(app).memory.waiting = beginning()
    deliver_message(app)
    assert len(state_of(app).memory.waiting) == 1
    assert state_of(app).memory.may_take_runs == [False]


def test_failure_of_a_run_that_waited_is_told_by_its_name(celery, caplog):
    app = make_app(celery)
    waiting = beginning()
    state_of(app).memory.waiting = list(waiting)

    def fail_the_second():
        state_of(app).memory.error = ConnectionError("the database is away")

    state_of(app).memory.executing = fail_the_second
    deliver_message(app)
    assert waiting[0].run_id in caplog.text
    assert RUN not in caplog.text


def test_search_that_fails_is_not_taken_for_the_step(celery, caplog):
    app = make_app(celery)
    state_of(app).memory.error_of_search = ConnectionError("the database is away")
    deliver_message(app)
    assert "the search for runs that wait was not finished" in caplog.text
    assert RUN not in caplog.text


def test_one_step_alone_is_what_is_asked_of_delivery(celery):
    app = make_app(celery)
    state_of(app).memory.waiting = beginning()
    assert delivery.run_step(app, RUN, "load") == "executed"
    assert len(state_of(app).memory.waiting) == 1

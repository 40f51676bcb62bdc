"""Messages: trusted in nothing, delivered to the right application, in its context."""

from __future__ import annotations

import logging

import pytest
from celery import Celery
from flask import current_app, g, has_app_context

from flask_squidmesh.dispatch import contexts, delivery, doorbell_of
from flask_squidmesh.dispatch.shutdown import ShutdownFlag
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.ids import new_id
from flask_squidmesh.types import TickResult
from tests.dispatch.doubles import SteppedClock, make_app, state_of

RUN = new_id()


@pytest.fixture
def celery():
    return Celery("tests", set_as_current=False, broker="memory://")


def receive(celery, *args, **kwargs):
    """Do what the worker does with a message."""
    celery.finalize()
    return celery.tasks["squidmesh.run_step"].run(*args, **kwargs)


def test_message_is_delivered_in_the_context_of_its_application(celery):
    app = make_app(celery)
    seen = []
    state_of(app).memory.executing = lambda: seen.append(current_app == app)
    receive(celery, RUN, "load")
    assert state_of(app).memory.delivered == [(RUN, "load")]
    assert seen == [True]
    assert not has_app_context()


def test_context_that_the_host_pushed_is_used(celery):
    app = make_app(celery)
    seen = []
    state_of(app).memory.executing = lambda: seen.append(g.get("host"))
    with app.app_context():
        g.host = "pushed"
        receive(celery, RUN, "load")
    assert seen == ["pushed"]


def test_context_of_another_application_is_not(celery):
    app, other = make_app(celery), make_app(None)
    seen = []
    state_of(app).memory.executing = lambda: seen.append(current_app == app)
    with other.app_context():
        receive(celery, RUN, "load")
    assert seen == [True]


def test_every_celery_app_works_for_its_own_application():
    apps = {
        name: make_app(Celery(name, set_as_current=False, broker="memory://"))
        for name in ("one", "two", "three")
    }
    for name, app in apps.items():
        receive(state_of(app).celery(), RUN, name)
    delivered = [state_of(app).memory.delivered for app in apps.values()]
    assert delivered == [[(RUN, "one")], [(RUN, "two")], [(RUN, "three")]]


def test_shared_celery_app_works_for_the_active_application_or_the_newest(celery):
    old, new = make_app(celery), make_app(celery)
    with old.app_context():
        receive(celery, RUN, "for_old")
    receive(celery, RUN, "for_new")
    assert state_of(old).memory.delivered == [(RUN, "for_old")]
    assert state_of(new).memory.delivered == [(RUN, "for_new")]


def test_binding_goes_before_everything_else(celery):
    make_app(celery)
    bound = make_app(None)
    contexts.bind(celery, bound)
    receive(celery, RUN, "load")
    assert state_of(bound).memory.delivered == [(RUN, "load")]


def test_application_is_not_kept_alive(celery):
    import gc
    import weakref

    reference = weakref.ref(make_app(celery))
    gc.collect()
    assert reference() is None
    assert contexts.find_app(celery) is None


def test_message_for_nobody_is_logged_once_with_an_instruction(caplog):
    stranger = Celery("stranger", set_as_current=False, broker="memory://")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            receive(stranger, RUN, "load")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert 'app.extensions["celery"]' in caplog.text


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((RUN,), {}),
        ((RUN, "load", "more"), {}),
        ((RUN, "load"), {"attempt": 1}),
        ((), {"run_id": RUN, "step": "load"}),
        ((RUN, 1), {}),
        ((RUN, None), {}),
        ((RUN, ["load"]), {}),
        ((RUN, ""), {}),
        ((RUN, "load\x00"), {}),
        ((RUN, "load; drop"), {}),
        ((RUN, "l" * 10_000), {}),
        ((RUN, "\ud800"), {}),
        ((1, "load"), {}),
        ((None, "load"), {}),
        (("", "load"), {}),
        (("not an id", "load"), {}),
        (({"$ne": 1}, "load"), {}),
    ],
)
def test_forged_message_does_nothing(celery, caplog, args, kwargs):
    app = make_app(celery)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            receive(celery, *args, **kwargs)
    assert state_of(app).memory.delivered == []
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]


def test_failing_delivery_does_not_raise_and_says_no_secrets(celery, caplog):
    app = make_app(celery)
    state_of(app).memory.error = ConnectionError("[parameters: {'card': '4111'}]")
    with caplog.at_level(logging.INFO):
        receive(celery, RUN, "load")
        receive(celery, RUN, "load")
        state_of(app).memory.error = None
        receive(celery, RUN, "load")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "ConnectionError" in caplog.text
    assert "4111" not in caplog.text


def test_news_are_announced_after_each_commit(celery):
    app = make_app(celery, queue=new_id())
    news = News(rings=(Ring(RUN, "settle"),))
    state_of(app).memory.news["load"] = news
    receive(celery, RUN, "load")
    assert state_of(app).announced == [news]
    assert doorbell_of(app).depth() == 1
    doorbell_of(app).close()


@pytest.mark.parametrize(
    ("budget", "took", "goes_on"), [(5, 4.9, True), (5, 5, False), (0, 0, False)]
)
def test_inline_continuation_ends_with_the_budget(budget, took, goes_on):
    clock = SteppedClock()
    app = make_app(clock=clock, inline_budget=budget)
    state_of(app).memory.executing = lambda: clock.advance(took)
    assert delivery.run_step(app, RUN, "load") == "executed"
    assert state_of(app).memory.continued == [goes_on]


def test_inline_continuation_ends_when_the_worker_shuts_down():
    app = make_app()
    flag = doorbell_of(app).closing = ShutdownFlag()
    delivery.run_step(app, RUN, "load")
    flag.set()
    delivery.run_step(app, RUN, "load")
    assert state_of(app).memory.continued == [True, False]


def test_tick_message_makes_one_round(celery, caplog):
    app = make_app(celery)
    celery.finalize()
    tick = celery.tasks["squidmesh.tick"]
    news = News(rings=(Ring(RUN, "settle"),))
    state_of(app).announce = state_of(app).announced.append
    state_of(app).memory.ticks = [(TickResult(due=1), news)]
    tick.run("unexpected", argument=1)
    assert state_of(app).announced == [news]
    state_of(app).memory.error = ConnectionError()
    tick.run()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("name", ["squidmesh.run_step", "squidmesh.tick"])
def test_tasks_are_in_every_celery_app_and_acknowledge_early(name):
    celery = Celery(set_as_current=False)
    celery.conf.update(task_acks_late=True, task_ignore_result=False)
    celery.finalize()
    task = celery.tasks[name]
    assert (task.acks_late, task.ignore_result, task.max_retries) == (False, True, 0)

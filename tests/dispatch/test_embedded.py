"""The worker inside this process: consumes, keeps time, ends, leaves nothing behind."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from celery import Celery

from flask_squidmesh.clock import Clock, wait_until
from flask_squidmesh.dispatch import doorbell_of
from flask_squidmesh.dispatch.embedded import EmbeddedWorker
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.ids import new_id
from flask_squidmesh.types import TickResult
from tests.dispatch.doubles import make_app, state_of


def our_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("squidmesh-")]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_ring_is_delivered_at_once(pool):
    app = make_app()
    delivered = state_of(app).memory.delivered
    with EmbeddedWorker(app, pool=pool):
        for _ in range(20):
            run_id = new_id()
            doorbell_of(app).ring([Ring(run_id, "load")])
            assert wait_until(lambda: (run_id, "load") in delivered, timeout=5, interval=0.002)  # noqa: B023


def test_ring_with_a_time_comes_on_time():
    app = make_app(tick_interval=30)
    engine, clock = state_of(app).memory, Clock()
    arrived = []
    engine.executing = lambda: arrived.append(clock.now)
    with EmbeddedWorker(app):
        due = clock.now + timedelta(seconds=0.3)
        doorbell_of(app).ring([Ring(new_id(), "settle", due)])
        assert wait_until(lambda: arrived != [], timeout=5, interval=0.002)
    assert timedelta(0) <= arrived[0] - due < timedelta(seconds=0.2)


def test_ticker_and_heartbeat_run():
    app = make_app(tick_interval=0.05, lease_ttl=0.5)
    engine = state_of(app).memory
    run_id = new_id()
    engine.ticks = [(TickResult(due=1), News(rings=(Ring(run_id, "load"),)))]
    with EmbeddedWorker(app):
        assert wait_until(lambda: engine.rounds > 3 and engine.renewals > 3, timeout=5)
        assert wait_until(lambda: engine.delivered == [(run_id, "load")], timeout=5)


def test_doorbell_is_shared_with_other_processes_only_outside():
    app = make_app()
    with EmbeddedWorker(app):
        assert not doorbell_of(app).is_shared
    assert doorbell_of(app).is_shared


def test_ticker_can_be_off():
    app = make_app(tick_interval=0.01, ticker=False, lease_ttl=0.5)
    engine = state_of(app).memory
    with EmbeddedWorker(app):
        assert wait_until(lambda: engine.renewals > 3, timeout=5)
        assert engine.rounds == 0


def test_steps_under_way_finish_and_nothing_new_begins_on_stop():
    app = make_app()
    engine = state_of(app).memory
    began, may_end = threading.Event(), threading.Event()

    def execute():
        began.set()
        may_end.wait(10)

    engine.executing = execute
    worker = EmbeddedWorker(app, concurrency=1)
    worker.start()
    doorbell_of(app).ring([Ring(new_id(), "load")])
    assert began.wait(5)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    closing = doorbell_of(app).closing
    assert closing is not None
    assert wait_until(closing.is_set, timeout=5)
    may_end.set()
    stopping.join(10)
    assert not stopping.is_alive()
    assert engine.continued == [False]


def test_nothing_is_left_behind():
    before = sorted(our_threads())
    app = make_app()
    worker = EmbeddedWorker(app)
    for _ in range(2):
        worker.start()
        doorbell_of(app).ring([Ring(new_id(), "load")])
        worker.stop()
    worker.stop()
    assert wait_until(lambda: sorted(our_threads()) == before, timeout=5)
    assert doorbell_of(app).remember is None


def test_configured_broker_is_used_again_afterwards(broker_url):
    celery = Celery(set_as_current=False, broker=broker_url)
    app = make_app(celery)
    with EmbeddedWorker(app):
        doorbell_of(app).ring([Ring(new_id(), "load")])
        assert wait_until(lambda: state_of(app).memory.delivered != [], timeout=5)
    doorbell_of(app).ring([Ring(new_id(), "load")])
    assert doorbell_of(app).depth() == 1
    doorbell_of(app).close()


def test_application_without_a_celery_app_has_one_meanwhile():
    app = make_app()
    with EmbeddedWorker(app):
        assert state_of(app).missing().keys() == {"db"}
    assert state_of(app).missing().keys() == {"db", "celery"}


def test_broker_in_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    app = make_app()
    with EmbeddedWorker(app):
        doorbell_of(app).ring([Ring(new_id(), "load")])
        assert wait_until(lambda: state_of(app).memory.delivered != [], timeout=5)


def test_two_applications_do_not_hear_each_other():
    one, two = make_app(), make_app()
    with EmbeddedWorker(one), EmbeddedWorker(two):
        expected = {}
        for app in (one, two):
            ids = [new_id() for _ in range(20)]
            doorbell_of(app).ring([Ring(run_id, "load") for run_id in ids])
            expected[app] = {(run_id, "load") for run_id in ids}
        for app in (one, two):
            delivered = state_of(app).memory.delivered
            assert wait_until(lambda: set(delivered) == expected[app], timeout=5)  # noqa: B023


def test_manual_dispatch_is_refused_with_an_instruction():
    with pytest.raises(ConfigError) as caught:
        EmbeddedWorker(make_app(dispatch="manual")).start()
    assert caught.value.invalid == {"SQUIDMESH_DISPATCH": "manual"}


def test_starting_twice_is_refused():
    worker = EmbeddedWorker(make_app())
    with worker, pytest.raises(RuntimeError, match="stop it first"):
        worker.start()


def test_pools_that_fork_are_refused():
    with pytest.raises(ValueError, match="does not fork"):
        EmbeddedWorker(make_app(), pool="prefork")

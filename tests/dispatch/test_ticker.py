"""Ticker and heartbeat: what a turn does, and what it survives."""

from __future__ import annotations

import logging
from datetime import timedelta
from random import Random

import pytest
from celery import Celery
from flask import current_app

from flask_squidmesh.dispatch import doorbell_of
from flask_squidmesh.dispatch.heartbeat import Heartbeat
from flask_squidmesh.dispatch.reminders import Reminders
from flask_squidmesh.dispatch.ticker import LIMIT, Ticker, tick
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.ids import new_id
from flask_squidmesh.types import TickResult
from tests.dispatch.doubles import SteppedClock, make_app, state_of


class Bench:
    """An application, its clock, and its ticker, turned by hand."""

    def __init__(self, *, ticking=True, **settings):
        self.clock = SteppedClock()
        # A queue of its own: the memory is shared by the process.
        celery = Celery(set_as_current=False, broker="memory://")
        self.app = make_app(celery, clock=self.clock, queue=new_id(), **settings)
        self.engine = state_of(self.app).memory
        self.doorbell = doorbell_of(self.app)
        self.reminders = Reminders(self.clock)
        numbers = Random(1)  # noqa: S311  # the same in every test
        self.ticker = Ticker(
            self.app, self.doorbell, self.reminders, ticking=ticking, random=numbers
        )

    def turn(self, *, after=0.0):
        self.clock.advance(after)
        return self.ticker.turn()

    @property
    def sent(self):
        return self.doorbell.depth()


@pytest.fixture
def bench():
    made = []

    def make(**options):
        made.append(Bench(**options))
        return made[-1]

    yield make
    for each in made:
        each.doorbell.close()


def rings(count):
    return tuple(Ring(new_id(), "load") for _ in range(count))


def test_first_round_comes_within_half_an_interval(bench):
    ticker = bench(tick_interval=10)
    pause = ticker.turn()
    assert ticker.engine.rounds == 0
    assert 0 < pause <= 5
    assert ticker.turn(after=pause) <= 10
    assert ticker.engine.rounds == 1


def test_rounds_are_one_interval_apart(bench):
    ticker = bench(tick_interval=2)
    ticker.turn(after=2)
    pauses = [ticker.turn(after=2) for _ in range(50)]
    assert ticker.engine.rounds == 51
    assert set(pauses) == {2.0}


def test_news_of_a_round_are_announced(bench):
    ticker = bench()
    news = News(rings=rings(3))
    ticker.engine.ticks = [(TickResult(due=3), news)]
    ticker.turn(after=1)
    assert state_of(ticker.app).announced == [news]
    assert ticker.sent == 3


def test_full_round_is_followed_at_once(bench):
    ticker = bench()
    ticker.engine.ticks = [(TickResult(due=LIMIT), News(rings=rings(LIMIT)))]
    assert ticker.turn(after=1) == 0
    assert ticker.turn() > 0
    assert ticker.engine.rounds == 2


def test_remembered_ring_is_made_on_time(bench):
    ticker = bench(tick_interval=100)
    ticker.turn()
    ticker.reminders.keep([Ring(new_id(), "settle", ticker.clock.now + timedelta(seconds=1))])
    pause = ticker.turn()
    assert 0.9 < pause <= 1.001
    assert ticker.sent == 0
    ticker.turn(after=pause + 0.001)
    assert ticker.sent == 1


def test_without_ticking_it_still_rings_on_time(bench):
    ticker = bench(ticking=False)
    ticker.reminders.keep([Ring(new_id(), "settle", ticker.clock.now + timedelta(seconds=1))])
    assert ticker.turn() <= 1.001
    ticker.turn(after=2)
    assert ticker.sent == 1
    assert ticker.turn(after=1000) == 60
    assert ticker.engine.rounds == 0


def test_database_that_is_away_is_logged_once_and_tried_again(bench, caplog):
    ticker = bench(tick_interval=1)
    ticker.engine.error = ConnectionError("password=secret")
    with caplog.at_level(logging.INFO):
        pauses = [ticker.turn(after=5) for _ in range(20)]
        ticker.engine.error = None
        ticker.turn(after=5)
    assert ticker.engine.rounds == 21
    assert min(pauses) >= 0.8
    assert max(pauses) <= 5
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "secret" not in caplog.text


def test_lost_messages_are_rung_again_in_the_next_round(bench):
    ticker = bench()
    ticker.turn(after=1)
    ticker.engine.lost = rings(4)
    ticker.turn(after=1)
    assert ticker.sent == 4


def test_queue_with_messages_has_lost_none(bench):
    ticker = bench()
    ticker.doorbell.ring(rings(1))
    ticker.engine.lost = rings(4)
    ticker.turn(after=1)
    assert ticker.engine.searches == 0
    assert ticker.sent == 1


def test_idle_process_asks_the_database_once_per_interval(bench):
    ticker = bench()
    for _ in range(10):
        ticker.turn(after=1)
    rounds, searches = ticker.engine.rounds, ticker.engine.searches
    for _ in range(10):
        ticker.turn(after=1)
    assert ticker.engine.rounds == rounds + 10
    assert ticker.engine.searches == searches


def test_traffic_has_lost_messages_looked_for_again(bench):
    ticker = bench()
    for _ in range(10):
        ticker.turn(after=1)
    searches = ticker.engine.searches
    ticker.doorbell.traffic += 1
    ticker.turn(after=1)
    assert ticker.engine.searches == searches + 1


def test_what_other_processes_start_is_found_where_they_can_not_be_heard(bench):
    ticker = bench()
    ticker.doorbell.is_shared = False
    for _ in range(10):
        ticker.turn(after=1)
    ticker.engine.lost = rings(3)
    ticker.turn(after=1)
    assert ticker.sent == 3


def test_return_of_the_broker_has_lost_messages_looked_for_again(bench):
    ticker = bench()
    for _ in range(10):
        ticker.turn(after=1)
    searches = ticker.engine.searches
    with ticker.doorbell.unreachable():
        ticker.turn(after=1)
    assert ticker.engine.searches == searches
    ticker.engine.lost = rings(2)
    ticker.turn(after=1)
    assert ticker.sent == 2


def test_round_happens_in_the_application_context(bench):
    ticker = bench()
    seen = []
    state_of(ticker.app).announce = lambda _news: seen.append(current_app.name)
    ticker.engine.ticks = [(TickResult(due=1), News(rings=rings(1)))]
    assert tick(ticker.app) == (TickResult(due=1), False)
    assert seen == [ticker.app.name]


def test_heartbeat_renews_several_times_per_lease():
    app = make_app(lease_ttl=12)
    assert Heartbeat(app).turn() == 2
    assert state_of(app).memory.renewals == 1


def test_heartbeat_survives_a_database_that_is_away(caplog):
    app = make_app()
    heartbeat = Heartbeat(app)
    state_of(app).memory.error = ConnectionError("password=secret")
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            heartbeat.turn()
        state_of(app).memory.error = None
        heartbeat.turn()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "secret" not in caplog.text

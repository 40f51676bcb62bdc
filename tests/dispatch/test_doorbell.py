"""What is rung now, what is remembered, and what happens when it can not be sent."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from celery import Celery

from flask_squidmesh.clock import Clock
from flask_squidmesh.dispatch import doorbell_of
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.ids import new_id
from tests.dispatch.doubles import make_app, state_of


@pytest.fixture
def app():
    app = make_app(Celery(set_as_current=False, broker="memory://"), queue=new_id())
    yield app
    doorbell_of(app).close()


def in_seconds(seconds):
    return Ring(new_id(), "settle", Clock().now + timedelta(seconds=seconds))


def test_rings_without_a_time_and_past_ones_are_sent_now(app):
    doorbell_of(app).ring([Ring(new_id(), "load"), in_seconds(-1), in_seconds(30)])
    assert doorbell_of(app).depth() == 1 + 1


def test_later_rings_are_remembered_by_whoever_keeps_time(app):
    remembered: list[Ring] = []
    doorbell_of(app).remember = remembered.extend
    later = in_seconds(30)
    doorbell_of(app).ring([Ring(new_id(), "load"), later])
    assert remembered == [later]


def test_manual_dispatch_sends_nothing():
    app = make_app(Celery(set_as_current=False, broker="memory://"), dispatch="manual")
    doorbell_of(app).ring([Ring(new_id(), "load")])
    assert doorbell_of(app).depth() is None


def test_missing_celery_app_is_logged_once_with_an_instruction(caplog):
    app = make_app(None)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            doorbell_of(app).ring([Ring(new_id(), "load")])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert 'app.extensions["celery"]' in caplog.text
    assert doorbell_of(app).depth() is None


def test_celery_app_may_come_later():
    app = make_app(None, queue=new_id())
    doorbell_of(app).ring([Ring(new_id(), "load")])
    app.extensions["celery"] = Celery(set_as_current=False, broker="memory://")
    doorbell_of(app).ring([Ring(new_id(), "load")])
    assert doorbell_of(app).depth() == 1
    doorbell_of(app).close()


def test_applications_do_not_share_anything():
    one, two = (
        make_app(Celery(set_as_current=False, broker="memory://"), queue=new_id()) for _ in range(2)
    )
    doorbell_of(one).ring([Ring(new_id(), "load")])
    with doorbell_of(one).unreachable():
        doorbell_of(one).ring([Ring(new_id(), "load")])
        doorbell_of(two).ring([Ring(new_id(), "load")])
    assert (doorbell_of(one).depth(), doorbell_of(two).depth()) == (1, 1)
    for app in (one, two):
        doorbell_of(app).close()


def test_pretending_without_a_celery_app_is_harmless(caplog):
    app = make_app(None)
    with doorbell_of(app).unreachable():
        doorbell_of(app).ring([Ring(new_id(), "load")])
    assert state_of(app).memory.delivered == []

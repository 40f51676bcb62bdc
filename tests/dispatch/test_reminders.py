"""Rings within the next minute are remembered, in bounded memory, and never come early."""

from __future__ import annotations

from datetime import timedelta

from flask_squidmesh.dispatch.reminders import Reminders
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.ids import new_id
from tests.dispatch.doubles import SteppedClock


def ring_in(clock, seconds):
    return Ring(new_id(), "settle", clock.now + timedelta(seconds=seconds))


def test_rings_come_in_the_order_they_are_due():
    clock = SteppedClock()
    reminders = Reminders(clock)
    late, early = ring_in(clock, 20), ring_in(clock, 10)
    assert reminders.keep([late])
    assert reminders.keep([early])
    clock.advance(10.1)
    assert reminders.take_due() == [early]
    clock.advance(10)
    assert reminders.take_due() == [late]
    assert reminders.take_due() == []


def test_nothing_comes_early():
    clock = SteppedClock()
    reminders = Reminders(clock)
    reminders.keep([ring_in(clock, 1)])
    clock.advance(0.9)
    assert reminders.take_due() == []
    pause = reminders.next_in()
    assert pause is not None
    assert 0.09 < pause <= 0.102


def test_only_a_new_earliest_ring_is_worth_waking_for():
    clock = SteppedClock()
    reminders = Reminders(clock)
    assert reminders.keep([ring_in(clock, 10)])
    assert not reminders.keep([ring_in(clock, 11)])
    assert reminders.keep([ring_in(clock, 30), ring_in(clock, 9)])


def test_what_is_due_later_than_in_a_minute_is_left_to_the_ticker():
    clock = SteppedClock()
    reminders = Reminders(clock)
    assert not reminders.keep([ring_in(clock, 61), Ring(new_id(), "now")])
    assert reminders.next_in() is None


def test_memory_is_bounded():
    clock = SteppedClock()
    reminders = Reminders(clock, capacity=100)
    reminders.keep([ring_in(clock, 1) for _ in range(90)])
    reminders.keep([ring_in(clock, 1) for _ in range(90)])
    clock.advance(2)
    assert len(reminders.take_due()) == 100

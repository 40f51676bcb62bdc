"""The helper threads go on whatever happens, wake when told, and end when asked."""

from __future__ import annotations

import logging
import threading

import pytest

from flask_squidmesh.clock import wait_until
from flask_squidmesh.dispatch.rounds import Rounds


@pytest.fixture
def start():
    started = []

    def begin(turn, **options):
        rounds = Rounds("test-rounds", turn, **options)
        started.append(rounds)
        rounds.start()
        return rounds

    yield begin
    for rounds in started:
        assert rounds.stop(timeout=5)


def counting(turns, *, pause):
    def turn():
        turns.append(1)
        return pause

    return turn


def test_turns_repeat_after_the_pause_each_asks_for(start):
    turns: list[int] = []
    start(counting(turns, pause=0.001))
    assert wait_until(lambda: len(turns) > 5, timeout=5)


def test_waking_begins_the_next_turn_at_once(start):
    turns: list[int] = []
    rounds = start(counting(turns, pause=3600))
    assert wait_until(lambda: len(turns) == 1, timeout=5)
    rounds.wake()
    assert wait_until(lambda: len(turns) == 2, timeout=5)


def test_wake_during_a_turn_is_not_lost(start):
    turns, may_go_on, began = [], threading.Event(), threading.Event()

    def turn():
        turns.append(1)
        began.set()
        may_go_on.wait(5)
        return 3600

    rounds = start(turn)
    began.wait(5)
    rounds.wake()
    may_go_on.set()
    assert wait_until(lambda: len(turns) == 2, timeout=5)


def test_unexpected_error_is_logged_and_survived(start, caplog):
    turns, secret = [], "card=" + "4111"

    def turn():
        turns.append(1)
        if len(turns) < 3:
            raise LookupError(secret)
        return 3600

    with caplog.at_level(logging.ERROR):
        start(turn, after_a_bug=0.001)
        assert wait_until(lambda: len(turns) == 3, timeout=5)
    assert "LookupError" in caplog.text
    assert secret not in caplog.text


def test_stop_ends_a_long_pause(start):
    rounds = start(lambda: 3600)
    assert rounds.stop(timeout=5)
    rounds.start()


def test_stop_does_not_wait_longer_than_told():
    release = threading.Event()
    rounds = Rounds("test-rounds", lambda: float(release.wait(10)))
    rounds.start()
    assert not rounds.stop(timeout=0.01)
    release.set()


def test_second_start_is_refused(start):
    rounds = start(lambda: 3600)
    with pytest.raises(RuntimeError, match="stop it first"):
        rounds.start()

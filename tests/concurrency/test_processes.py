"""What several processes do at the same moment happens once."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from flask_squidmesh.testing import deliver, freeze, run_until_idle, tick
from tests.concurrency.conftest import RACERS
from tests.concurrency.racers import CALLS, NOON, Charge, Dying, Resting, Review
from tests.contract.host import attempts, audit, db, notes, path

ROUNDS = 3


def executions() -> int:
    """Return how often the step of `Charge` was executed, whatever was kept of it."""
    with db.engine.connect() as connection:
        return connection.scalar(sa.text("SELECT count(*) FROM executions")) or 0


def paused(world, count):
    """Return runs that stand at an approval."""
    run_ids = [world.start(Review) for _ in range(count)]
    run_until_idle()
    return run_ids


def test_of_two_hundred_decisions_of_several_processes_exactly_one_wins(world, race):
    run_ids = paused(world, ROUNDS)
    answers = race("decide", *run_ids, rounds=ROUNDS)
    for run_id, given in zip(run_ids, answers, strict=True):
        assert len(given) == RACERS * CALLS == 200
        (won,) = [answer for answer in given if "won" in answer]
        refused = [answer for answer in given if "refused" in answer]
        assert len(refused) == 199
        assert {answer["current"] for answer in refused} == {"running"}
        run = world.go(run_id)
        word, target = {"approve": ("approved", "ship"), "reject": ("rejected", "refund")}[
            won["won"]
        ]
        assert won["led_to"] == target
        assert audit(run) == [("paused", "review"), (word, "review")]
        assert (run.status, path(run)) == ("completed", ["review", target])
        assert run.context["decision"]["decision"] == word


def test_of_decisions_and_cancellations_exactly_one_wins(world, race):
    run_ids = paused(world, ROUNDS)
    answers = race("end", *run_ids, rounds=ROUNDS)
    for run_id, given in zip(run_ids, answers, strict=True):
        # What was decided first can still be cancelled once; what was cancelled stays so.
        won = [answer["won"] for answer in given if "won" in answer]
        assert won.count("cancel") == 1
        assert len(won) <= 2
        assert len(given) == RACERS * CALLS
        run = world.see(run_id)
        words = {"cancel": "cancelled", "approve": "approved", "reject": "rejected"}
        assert run.status == "cancelled"
        assert audit(run)[-1][0] == "cancelled"
        assert Counter(event for event, _ in audit(run)) == Counter(
            ["paused", *(words[each] for each in won)]
        )


def test_same_key_in_several_processes_is_one_run(world, race):
    answers = race("start", "one", "two", "three", rounds=ROUNDS)
    for given in answers:
        assert len({answer["run_id"] for answer in given}) == 1
    assert world.count_runs() == ROUNDS
    assert len({given[0]["run_id"] for given in answers}) == ROUNDS


def test_same_message_in_several_processes_is_executed_once(world, race):
    run_ids = [world.start(Charge) for _ in range(ROUNDS)]
    answers = race("take", *run_ids, rounds=ROUNDS)
    for run_id, given in zip(run_ids, answers, strict=True):
        words = Counter(answer["word"] for answer in given)
        assert words["executed"] == 1
        assert set(words) <= {"executed", "already_running", "finished"}
        run = world.see(run_id)
        assert (run.status, attempts(run, "work")) == ("completed", [(1, "completed")])
    assert executions() == ROUNDS
    assert notes() == sorted(run_ids)


def test_window_starts_one_run_however_many_processes_tick(world, race):
    with freeze(NOON):
        tick()
    answers = race("look", rounds=ROUNDS)
    started = [sum(answer["started"] for answer in given) for given in answers]
    assert started == [0, 1, 1]
    assert len(world.squidmesh.list_runs(workflow="digest")) == 2


def test_lost_attempt_is_taken_over_once_however_many_processes_tick(world, race):
    with freeze(NOON):
        run_ids = [world.start(Dying) for _ in range(8)]
        for run_id in run_ids:
            deliver(run_id, "work")
    answers = race("look", rounds=2)
    assert [sum(answer["expired"] for answer in given) for given in answers] == [0, 8]
    for run_id in run_ids:
        run = world.see(run_id)
        assert (run.status, attempts(run, "work")) == ("retrying", [(1, "abandoned")])


def test_timer_is_rung_once_however_many_processes_tick(world, race):
    with freeze(NOON):
        run_ids = [world.start(Resting) for _ in range(8)]
        for run_id in run_ids:
            deliver(run_id, "rest")
    answers = race("look", rounds=2)
    assert [sum(answer["due"] for answer in given) for given in answers] == [0, 8]

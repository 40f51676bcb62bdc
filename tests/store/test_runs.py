"""Runs and joins: the row follows the table, and a refused event changes no column."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_squidmesh.ids import new_id
from flask_squidmesh.lifecycle.states import RUN, RunEvent, RunStatus, terminal
from flask_squidmesh.store import joins, models, runs
from flask_squidmesh.store.listing import Filters, list_newest
from tests.store.conftest import NOON, insert_run

SOME = settings(
    max_examples=60,
    deadline=None,
    # The fixture gives a function; each call of it is a transaction of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def state_of(connection, run_id):
    found = runs.find_with_state(connection, run_id)
    assert found is not None
    return found[1]


@SOME
@given(events=st.lists(st.sampled_from(RunEvent), max_size=12))
def test_row_follows_the_table_under_any_order_of_events(unit, events):
    with unit() as connection:
        run_id = insert_run(connection)
        expected = state_of(connection, run_id)
        for number, event in enumerate(events):
            now, error = NOON + timedelta(seconds=number), f'"{number}"'
            is_legal = (expected.status, event) in RUN
            assert runs.move(connection, run_id, event, now=now, error=error) is is_legal
            if is_legal:
                status = RUN[(expected.status, event)]
                finished = now if status in terminal(RUN) else None
                expected = runs.StateRow(status, error, now, finished)
            assert state_of(connection, run_id) == expected


def test_moving_one_run_moves_no_other(unit):
    with unit() as connection:
        one, other = insert_run(connection), insert_run(connection)
        before = runs.find_with_state(connection, other)
        assert runs.move(connection, one, RunEvent.START, now=NOON, error=None)
        assert runs.find_with_state(connection, other) == before


def test_lock_tells_the_status_and_changes_nothing(unit):
    with unit() as connection:
        run_id = insert_run(connection)
        before = runs.find_with_state(connection, run_id)
        locked = runs.lock(connection, run_id)
        assert locked is not None
        assert locked.status == RunStatus.PENDING
        assert runs.find_with_state(connection, run_id) == before


def test_there_is_nothing_to_lock_or_move_without_a_run(unit):
    with unit() as connection:
        assert runs.lock(connection, new_id()) is None
        assert not runs.move(connection, new_id(), RunEvent.START, now=NOON, error=None)


def test_database_refuses_statuses_that_are_not_in_the_table(unit):
    with unit() as connection:
        run_id = insert_run(connection)
        wrong = sa.update(models.run_states).where(models.run_states.c.run_id == run_id)
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(wrong.values(status="sleeping"))


@pytest.mark.parametrize(
    "same",
    [
        {"idempotency_key": "k"},
        {"cron_window": NOON},
    ],
)
def test_key_and_cron_window_belong_to_one_run(unit, same):
    with unit() as connection:
        insert_run(connection, **same)
        with pytest.raises(AssertionError):
            insert_run(connection, **same)
        assert len(list_newest(connection, Filters(), before=None, limit=9)) == 1


def test_join_counts_down_and_never_below_zero(unit):
    with unit() as connection:
        run_id, other = insert_run(connection), insert_run(connection)
        joins.insert(connection, run_id, {"join": 2, "more": 1})
        joins.insert(connection, other, {"join": 2})
        assert joins.count_down(connection, run_id, "join")
        assert joins.missing(connection, run_id, ["join", "more"]) == {"join": 1, "more": 1}
        assert joins.missing(connection, other, ["join"]) == {"join": 2}
        assert joins.count_down(connection, run_id, "join")
        assert not joins.count_down(connection, run_id, "nobody")
        with pytest.raises(sa.exc.IntegrityError):
            joins.count_down(connection, run_id, "join")

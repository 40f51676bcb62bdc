"""Branches: the row follows the table under any order of events and any old token."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_squidmesh.lifecycle.states import STEP_RUN, StepRunEvent, StepRunStatus, active
from flask_squidmesh.store import branches
from flask_squidmesh.store.branches import Branch
from tests.store.conftest import NOON, insert_run, pending

ACTIVE = active(STEP_RUN)
READY = (StepRunStatus.PENDING, StepRunStatus.WAITING, StepRunStatus.RETRYING)
LATER = NOON + timedelta(seconds=1)
SOME = settings(
    max_examples=60,
    deadline=None,
    # The fixture gives a function; each call of it is a transaction of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def legal(status):
    """Return the events of the table that may happen in *status*, with where they lead."""
    return [(event, to) for (found, event), to in STEP_RUN.items() if found == status]


@SOME
@given(data=st.data())
def test_row_follows_the_table_and_late_tokens_change_nothing(unit, data):
    with unit() as connection:
        run_id = insert_run(connection)
        current: Branch | None = pending(run_id)
        seen = [pending(run_id)]
        branches.insert(connection, seen)
        for _ in range(data.draw(st.integers(1, 12))):
            # Somebody who saw the branch now, or long ago, or not quite.
            held = data.draw(st.sampled_from([seen[-1], *seen]))
            held = data.draw(
                st.sampled_from([held, replace(held, fencing_token=held.fencing_token + 1)])
            )
            event, to = data.draw(st.sampled_from(legal(held.status)))
            here = current is not None and (held.fencing_token, held.status) == (
                current.fencing_token,
                current.status,
            )
            if to in ACTIVE:
                token = held.fencing_token + (event == StepRunEvent.CLAIM)
                moved = branches.move(
                    connection, held, event, fencing_token=token, touched_at=LATER
                )
                assert (moved is not None) is here
                if moved is not None:
                    assert moved == replace(held, status=to, fencing_token=token, touched_at=LATER)
                    current = moved
                    seen.append(moved)
            else:
                assert branches.remove(connection, held) is here
                current = None if here else current
            assert branches.of_run(connection, run_id) == ([] if current is None else [current])


@SOME
@given(
    status=st.sampled_from(ACTIVE),
    token=st.integers(0, 3),
    held=st.integers(0, 3),
    held_status=st.sampled_from(ACTIVE),
)
def test_lease_is_renewed_by_its_holder_only(unit, status, token, held, held_status):
    with unit() as connection:
        run_id = insert_run(connection)
        row = pending(run_id, status=status, fencing_token=token)
        branches.insert(connection, [row])
        claim = replace(row, status=held_status, fencing_token=held)
        renewed = branches.renew(connection, claim, until=LATER, now=LATER)
        assert renewed is ((held, held_status) == (token, status))
        expected = replace(row, due_at=LATER, touched_at=LATER) if renewed else row
        assert branches.find_in_slot(connection, run_id, 0) == expected


@pytest.mark.parametrize("token", [-1, 1])
@pytest.mark.parametrize("write", ["repoint", "restart", "remove", "move", "renew"])
def test_no_write_succeeds_with_another_token(unit, write, token):
    with unit() as connection:
        run_id = insert_run(connection)
        row = pending(run_id, status=StepRunStatus.RUNNING, fencing_token=5)
        branches.insert(connection, [row])
        late = replace(row, fencing_token=5 + token)
        calls = {
            "repoint": lambda: branches.repoint(connection, late, replace(late, step="next")),
            "restart": lambda: branches.restart(connection, late, attempt=9),
            "remove": lambda: branches.remove(connection, late),
            "move": lambda: branches.move(connection, late, StepRunEvent.RETRY),
            "renew": lambda: branches.renew(connection, late, until=LATER, now=LATER),
        }
        assert not calls[write]()
        assert branches.of_run(connection, run_id) == [row]


def test_writes_touch_their_own_branch_only(unit):
    with unit() as connection:
        run_id, other = insert_run(connection), insert_run(connection)
        rows = [
            pending(run_id),
            pending(run_id, slot=1, step="sibling"),
            pending(other),
        ]
        branches.insert(connection, rows)
        assert branches.move(connection, rows[0], StepRunEvent.CLAIM, fencing_token=1)
        assert branches.find(connection, run_id, "sibling", slot=0) == rows[1]
        assert branches.of_run(connection, other) == [rows[2]]


def ring(connection, branch):
    return branches.ring(connection, branch, now=NOON, again_at=LATER)


@pytest.mark.parametrize("status", ACTIVE)
def test_only_what_is_ready_is_rung_for(unit, status):
    with unit() as connection:
        run_id = insert_run(connection)
        row = pending(run_id, status=status)
        branches.insert(connection, [row])
        assert ring(connection, row) is (status in READY)
        rung = replace(row, due_at=LATER, rung_at=NOON, resends=1)
        assert branches.of_run(connection, run_id) == [rung if status in READY else row]


def test_of_two_tickers_that_saw_the_same_one_rings(unit):
    with unit() as connection:
        run_id = insert_run(connection)
        row = pending(run_id)
        branches.insert(connection, [row])
        assert [ring(connection, row), ring(connection, row)] == [True, False]
        (rung,) = branches.of_run(connection, run_id)
        assert rung.resends == 1


def test_ringing_takes_no_lease_away(unit):
    with unit() as connection:
        run_id = insert_run(connection)
        row = pending(run_id)
        branches.insert(connection, [row])
        ring(connection, row)
        # A claim that saw the row before it was rung for is as good as before.
        assert branches.move(connection, row, StepRunEvent.CLAIM, fencing_token=1) is not None


@pytest.mark.parametrize("status", ACTIVE)
@pytest.mark.parametrize("age", [-1, 0, 1, None])
def test_due_is_what_has_its_time_behind_it(unit, status, age):
    with unit() as connection:
        run_id = insert_run(connection)
        due_at = None if age is None else NOON - timedelta(seconds=age)
        row = pending(run_id, status=status, due_at=due_at)
        branches.insert(connection, [row])
        is_due = age is not None and age >= 0
        found = branches.list_due(connection, at=NOON, limit=10)
        assert found == (NOON, [row] if is_due else [])


def test_longest_due_comes_first_and_no_more_than_asked_for(unit):
    with unit() as connection:
        run_id = insert_run(connection)
        rows = [
            pending(run_id, slot=n, step=f"s{n}", due_at=NOON - timedelta(seconds=n))
            for n in range(5)
        ]
        branches.insert(connection, rows)
        _, found = branches.list_due(connection, at=NOON, limit=3)
        assert [row.step for row in found] == ["s4", "s3", "s2"]


@pytest.mark.parametrize("status", ACTIVE)
def test_ready_is_what_can_be_claimed_now(unit, status):
    with unit() as connection:
        run_id = insert_run(connection)
        branches.insert(connection, [pending(run_id, status=status, ready_at=LATER)])
        early, ready = (branches.list_ready(connection, now=n, limit=9) for n in (NOON, LATER))
        assert bool(early) is (status == StepRunStatus.PENDING)
        assert bool(ready) is (status in READY)

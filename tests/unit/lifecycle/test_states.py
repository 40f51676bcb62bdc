"""The state tables: complete, absorbing at the end, and the one source of what is derived."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.lifecycle.states import (
    ATTEMPT,
    RUN,
    STEP_RUN,
    AttemptEvent,
    AttemptStatus,
    RunEvent,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
    active,
    sources,
    target,
    terminal,
)
from flask_squidmesh.store import models

TABLES: dict[str, tuple[Any, Any, Any, str]] = {
    "run": (RUN, RunStatus, RunEvent, "pending"),
    "step_run": (STEP_RUN, StepRunStatus, StepRunEvent, "pending"),
    "attempt": (ATTEMPT, AttemptStatus, AttemptEvent, "running"),
}
table_names = pytest.mark.parametrize("name", TABLES)


def reachable(table, start):
    found, new = set(), {start}
    while new:
        found |= new
        new = {to for (status, _), to in table.items() if status in found} - found
    return found


def test_runs_move_as_the_specification_says():
    # The table of the specification, section 4, letter by letter.
    promised = {
        "pending": {"running", "failed", "cancelled"},
        "running": {"retrying", "paused", "failed", "completed", "cancelling", "cancelled"},
        "retrying": {"running", "failed", "cancelling", "cancelled"},
        "paused": {"running", "completed", "failed", "cancelled"},
        "cancelling": {"cancelled", "failed"},
    }
    moves: dict[str, set[str]] = {}
    for (status, _), to in RUN.items():
        moves.setdefault(status, set()).add(to)
    assert moves == promised


def test_statuses_are_called_as_in_the_specification():
    ends = ["completed", "failed", "cancelled"]
    assert list(RunStatus) == ["pending", "running", "retrying", "paused", "cancelling", *ends]
    assert list(StepRunStatus) == ["pending", "waiting", "running", "paused", "retrying", *ends]
    assert list(AttemptStatus) == ["running", *ends, "abandoned"]


@table_names
def test_every_status_is_reachable_and_every_event_used(name):
    table, statuses, events, start = TABLES[name]
    assert reachable(table, start) == set(statuses)
    assert {event for _, event in table} == set(events)


@table_names
def test_every_active_status_can_still_end(name):
    table, _, _, _ = TABLES[name]
    for status in active(table):
        assert reachable(table, status) & set(terminal(table))


@table_names
def test_terminal_and_active_statuses_are_all_there_are(name):
    table, statuses, _, _ = TABLES[name]
    assert set(terminal(table)) | set(active(table)) == set(statuses)
    assert not set(terminal(table)) & set(active(table))


def test_terminal_statuses_are_those_of_the_specification():
    assert set(terminal(RUN)) == {"completed", "failed", "cancelled"}
    assert set(terminal(STEP_RUN)) == {"completed", "failed", "cancelled"}
    assert set(terminal(ATTEMPT)) == {"completed", "failed", "cancelled", "abandoned"}


@table_names
def test_an_event_leads_to_one_status_wherever_it_comes_from(name):
    table, _, events, _ = TABLES[name]
    for event in events:
        assert {table[(source, event)] for source in sources(table, event)} == {
            target(table, event)
        }


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
def test_terminal_statuses_absorb_whatever_happens(name, data):
    table, _, events, status = TABLES[name]
    ended = None
    for event in data.draw(st.lists(st.sampled_from(list(events)), max_size=30)):
        status = table.get((status, event), status)
        assert ended is None or status == ended
        ended = status if status in terminal(table) else None


def test_check_constraints_follow_the_tables():
    expected = {
        models.run_states: tuple(RunStatus),
        models.branches: active(STEP_RUN),
        models.step_runs: terminal(STEP_RUN),
        models.attempts: terminal(ATTEMPT),
    }
    for table, statuses in expected.items():
        (check,) = (c for c in table.constraints if str(c.name).endswith("_status_check"))
        listed = str(getattr(check, "sqltext", "")).split("(")[1].rstrip(")")
        assert {word.strip(" '") for word in listed.split(",")} == set(statuses)

"""Reading what other branches of a run have completed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_squidmesh.store import history
from flask_squidmesh.store.history import AttemptRow, StepRunRow
from tests.store.conftest import NOON, insert_run

WIDE = 300


def insert_history(connection, run_id):
    """Insert the history of a run with a failed attempt in front of each step run."""
    rows = []
    for number in range(1, WIDE + 1):
        at = NOON + timedelta(seconds=number)
        common = {"run_id": run_id, "step": f"step_{WIDE - number}", "visit": 1}
        for attempt, status in ((1, "failed"), (2, "completed")):
            ended = AttemptRow(
                **common,
                ordinal=2 * (number - 1) + attempt,
                number=attempt,
                status=status,
                fencing_token=attempt,
                worker=None,
                error=None,
                traceback=None,
                started_at=at,
                finished_at=at,
            )
            history.insert_attempts(connection, [ended])
        row = StepRunRow(
            **common,
            slot=number,
            ordinal=2 * number,
            horizon=0,
            status="completed",
            outcome="ok",
            output=None,
            created_at=at,
            finished_at=at,
        )
        history.insert_step_runs(connection, [row])
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("after", "up_to"), [(0, 2 * WIDE), (0, 1), (1, 2), (7, 20), (2 * WIDE, 2 * WIDE)]
)
def test_step_runs_come_in_the_order_they_ended_without_those_of_other_runs(unit, after, up_to):
    with unit() as connection:
        run_id = insert_run(connection)
        rows = insert_history(connection, run_id)
        insert_history(connection, insert_run(connection))
        found = history.step_runs_between(connection, run_id, after=after, up_to=up_to)
    assert found == [row for row in rows if after < row.ordinal <= up_to]


def test_step_runs_of_a_run_the_statistics_know_nothing_of_are_found_one_by_one(unit):
    with unit() as connection:
        if connection.dialect.name != "postgresql":
            pytest.skip("other planners need no telling")
        run_id = insert_run(connection)
        insert_history(connection, run_id)
        heard = []
        explain = "EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) "
        values = {"run_id": run_id, "after": 0, "up_to": 2 * WIDE}
        text = str(history._SINCE_ONE_BY_ONE.compile(connection))
        limit = history._SINCE_ONE_BY_ONE.compile(connection).params
        for (line,) in connection.exec_driver_sql(explain + text, {**limit, **values}):
            heard.append(line)
    removed = [int(line.split(":")[1]) for line in heard if "Rows Removed" in line]
    assert sum(removed) < WIDE, heard

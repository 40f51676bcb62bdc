"""How PostgreSQL executes what every step executes, also when it knows nothing of the tables.

A plan that is made once is kept, and the first runs of a new application make
it. So it must be right for tables that nobody has analysed, of any size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_squidmesh.store import branches, claiming, passing, ringing, starting, straight
from flask_squidmesh.store.prepared import LONGEST, Prepared
from tests.store.conftest import NOON, insert_run, pending, prepare
from tests.support.databases import Databases

LEASE = timedelta(seconds=60)
STATEMENTS = {
    "start": starting._START,
    "first claim": claiming._CLAIM,
    "going on": straight._go_on(LEASE),
    "the end": straight._COMPLETE,
    "the end and a first claim": straight._COMPLETE_AND_CLAIM,
    "another branch": passing._pass_on("any", LEASE),
    "another branch but some": passing._pass_on("not excluded", LEASE),
    "a certain branch": passing._pass_on("named", LEASE),
}
MANY = 3000
FILL = """
INSERT INTO squidmesh_runs (id, workflow, fingerprint, trigger, payload, created_at)
SELECT gen_random_uuid(), workflow, fingerprint, trigger, payload, created_at
FROM squidmesh_runs, generate_series(1, {many});
INSERT INTO squidmesh_run_states (run_id, status, created_at, updated_at)
SELECT id, 'running', created_at, created_at FROM squidmesh_runs
ON CONFLICT DO NOTHING;
INSERT INTO squidmesh_branches (run_id, slot, step, visit, status, attempt, lost, fencing_token,
    horizon, resends, created_at, ready_at, due_at, touched_at)
SELECT run_id, slot + number, step, visit, status, attempt, lost, fencing_token, horizon, resends,
    created_at, ready_at, due_at, touched_at
FROM squidmesh_branches, generate_series(1, {many}) AS number
"""


@pytest.fixture(scope="module")
def never_analysed(postgres_databases: Databases) -> Iterator[sa.Engine]:
    """A database with thousands of runs, and one run with thousands of branches."""
    url = postgres_databases.create(prepare)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in ("runs", "run_states", "branches", "attempts", "step_runs", "joins"):
            connection.exec_driver_sql(
                f"ALTER TABLE squidmesh_{table} SET (autovacuum_enabled = false)"
            )
        run_id = insert_run(connection)
        branches.insert(connection, [pending(run_id)])
        for statement in FILL.format(many=MANY).split(";"):
            connection.exec_driver_sql(statement)
    yield engine
    engine.dispose()
    postgres_databases.drop(url)


def plan(connection: sa.Connection, statement: Prepared) -> str:
    """Return the plan for any values."""
    cursor = connection.connection.cursor()
    # Without arguments psycopg sends it as it is.
    cursor.execute(b"EXPLAIN (GENERIC_PLAN) " + statement.numbered.content)
    return "\n".join(row[0] for row in cursor.fetchall())


@pytest.mark.parametrize("name", STATEMENTS)
def test_rows_are_found_by_their_key_whatever_the_server_knows(never_analysed, name):
    with never_analysed.connect() as connection:
        said = plan(connection, STATEMENTS[name])
    assert "Seq Scan" not in said
    assert "Sort" not in said
    used = set(re.findall(r"using (\w+)", said))
    assert {index for index in used if not index.endswith("_pkey")} == set()


@pytest.mark.parametrize("name", STATEMENTS)
def test_text_is_short_enough_for_the_driver_to_keep(never_analysed, name):
    text = STATEMENTS[name].text(never_analysed)
    assert text is not None
    assert len(text) <= LONGEST


def test_burst_is_rung_by_keys_while_statistics_are_older(postgres_databases):
    """Not by the time at which all of it is due, which would be read in every round."""
    url = postgres_databases.create(prepare)
    engine = sa.create_engine(url)
    said: list[str] = []

    def look(connection, cursor, text, parameters, *_):
        if text.lstrip().startswith("UPDATE squidmesh_branches") and not said:
            said.append("")
            explained = connection.exec_driver_sql(f"EXPLAIN {text}", parameters)
            said[0] = "\n".join(row[0] for row in explained)

    with engine.begin() as connection:
        branches.insert(connection, [pending(insert_run(connection))])
        connection.exec_driver_sql("ANALYZE")
        run_id = insert_run(connection)
        branches.insert(connection, [pending(run_id, slot=slot) for slot in range(MANY)])
        seen = branches.of_run(connection, run_id)[:200]
        sa.event.listen(engine, "before_cursor_execute", look)
        again_at = [NOON + timedelta(seconds=10), NOON + timedelta(seconds=20)]
        rung = ringing.ring_all(connection, seen, now=NOON, again_at=again_at, queued_since=NOON)
    engine.dispose()
    postgres_databases.drop(url)
    assert len(rung) == 200
    assert "squidmesh_branches_pkey" in said[0]
    assert "due_at_idx" not in said[0]

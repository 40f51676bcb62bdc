"""What the guide for operators says of large tables is what the revision does, without its lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from benchmarks import history
from flask_squidmesh.store import models
from flask_squidmesh.store.migrations.folder import revisions
from tests.migrations.test_schema import schema

RUNS = 300
GUIDE = Path(__file__).parents[2] / "docs/operations.md"
FIRST, SECOND = revisions()[:2]


def run(connection: sa.Connection, what: str) -> None:
    module: dict[str, Any] = {}
    exec(compile(SECOND.render(FIRST.id), SECOND.file_name, "exec"), module)  # noqa: S102 - it is a program to be run
    with Operations.context(MigrationContext.configure(connection)):
        module[what]()
    connection.commit()


def statements() -> Iterator[str]:
    """Yield what the guide says to do beforehand."""
    found = re.search(r"### Large tables.*?```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    text = re.sub(r"--.*", "", found[1])
    yield from filter(None, (part.strip() for part in text.split(";")))


def copies(connection: sa.Connection) -> list[Any]:
    states = models.run_states.c
    query = sa.select(states.run_id, states.workflow, states.trigger).order_by(states.run_id)
    return list(connection.execute(query).all())


@pytest.fixture
def connection(postgres_database_url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(postgres_database_url)
    models.METADATA.create_all(engine)
    history.seed(engine, runs=RUNS, until=datetime(2026, 11, 1, tzinfo=UTC))
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def test_revision_fills_the_copies_of_old_rows(connection: sa.Connection) -> None:
    before, wanted = schema(connection), copies(connection)
    run(connection, "downgrade")
    run(connection, "upgrade")
    assert copies(connection) == wanted
    assert len(wanted) == RUNS
    assert schema(connection) == before


def test_what_is_done_beforehand_leaves_nothing_for_the_revision(connection: sa.Connection) -> None:
    before, wanted = schema(connection), copies(connection)
    run(connection, "downgrade")
    apart = connection.execution_options(isolation_level="AUTOCOMMIT")
    for statement in statements():
        while apart.execute(sa.text(statement)).rowcount > 0:
            pass
    assert copies(connection) == wanted
    done, new = schema(connection), "squidmesh_contexts"
    assert done == {name: table for name, table in before.items() if name != new}
    run(connection, "upgrade")
    assert schema(connection) == before

"""A database with the tables, and a connection whose work is rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from flask_squidmesh.ids import new_id
from flask_squidmesh.lifecycle.states import StepRunStatus
from flask_squidmesh.store import definitions, models, runs
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.runs import RunRow
from tests.support.databases import Databases

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
Unit = Callable[[], AbstractContextManager[sa.Connection]]


def prepare(url: str) -> None:
    """Create the tables in an empty database."""
    engine = sa.create_engine(url)
    models.METADATA.create_all(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def engine(databases: Databases) -> Iterator[sa.Engine]:
    url = databases.create(prepare)
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()
    databases.drop(url)


@pytest.fixture
def pool_of_one(postgres_databases: Databases) -> Iterator[sa.Engine]:
    """An engine with a single connection, which shows what state it is left in."""
    url = postgres_databases.create(prepare)
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=5)
    yield engine
    engine.dispose()
    postgres_databases.drop(url)


@pytest.fixture
def unit(engine: sa.Engine) -> Unit:
    """Open a transaction that is rolled back at the end of the block."""

    @contextmanager
    def unit() -> Iterator[sa.Connection]:
        with engine.connect() as connection:
            yield connection
            connection.rollback()

    return unit


def insert_run(connection: sa.Connection, **fields: object) -> str:
    """Insert a pending run without branches, and return its id."""
    definitions.put(
        connection,
        fingerprint="f" * 64,
        workflow="flow",
        version=None,
        document="{}",
        now=NOON,
    )
    values = {
        "id": new_id(),
        "workflow": "flow",
        "fingerprint": "f" * 64,
        "trigger": "go",
        "payload": "{}",
        "schedule": None,
        "cron_window": None,
        "idempotency_key": None,
        "request_digest": None,
        "replayed_from_run_id": None,
        "created_at": NOON,
        **fields,
    }
    row = RunRow(**values)  # type: ignore[arg-type]  # named above
    assert runs.insert(connection, row)
    return row.id


def pending(run_id: str, **fields: object) -> Branch:
    """Return a branch that has just begun."""
    values = {
        "run_id": run_id,
        "slot": 0,
        "step": "work",
        "visit": 1,
        "status": StepRunStatus.PENDING,
        "attempt": 0,
        "lost": 0,
        "fencing_token": 0,
        "horizon": 0,
        "resends": 0,
        "created_at": NOON,
        "ready_at": NOON,
        "due_at": NOON,
        "rung_at": NOON,
        "started_at": None,
        "touched_at": NOON,
        "worker": None,
        **fields,
    }
    return Branch(**values)  # type: ignore[arg-type]  # named above

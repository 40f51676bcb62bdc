"""A worker that is frozen with a transaction open holds up its own runs, and no others.

Frozen like that are paused machines, and those that the network has cut off: the
database notices nothing for as long as the connection looks open.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from flask_squidmesh import FrozenClock, SquidMesh
from flask_squidmesh.current import state
from flask_squidmesh.engine.claim import take
from flask_squidmesh.store import models
from flask_squidmesh.testing import freeze, tick
from tests.crash.host import db, make_app, prepare
from tests.crash.shapes import Nightly, Straight

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def squidmesh(postgres_databases) -> Iterator[SquidMesh]:
    url = postgres_databases.create(prepare)
    app, squidmesh = make_app(url)
    squidmesh.register(Straight)
    squidmesh.register(Nightly)
    with app.app_context():
        yield squidmesh
        db.engine.dispose()
    postgres_databases.drop(url)


@pytest.fixture
def clock(squidmesh) -> Iterator[FrozenClock]:
    with freeze(NOON) as frozen:
        yield frozen


@contextmanager
def frozen_with(table: sa.Table, *where: sa.ColumnElement[bool]) -> Iterator[None]:
    """Hold rows as a transaction does that never goes on."""
    with db.engine.connect() as connection:
        assert connection.execute(sa.select(table).where(*where).with_for_update()).first()
        yield


def ticker_gets_through(app) -> bool:
    """Do a round of the ticker beside what is held; return whether it came to its end."""

    def work() -> None:
        with app.app_context():
            tick()

    ticker = threading.Thread(target=work, daemon=True)
    ticker.start()
    ticker.join(5)
    return not ticker.is_alive()


def status(squidmesh, run_id):
    return squidmesh.inspect_run(run_id).status


def test_leases_run_out_beside_a_run_that_somebody_holds(squidmesh, clock):
    held, other = (squidmesh.start_run(Straight).id for _ in range(2))
    for run_id in (held, other):
        assert take(state().engine()._runtime, run_id, "load").held is not None
    clock.advance(seconds=60)
    with frozen_with(models.run_states, models.run_states.c.run_id == held):
        assert ticker_gets_through(state().app)
        assert (status(squidmesh, held), status(squidmesh, other)) == ("running", "retrying")
    assert tick().expired == 1
    assert status(squidmesh, held) == "retrying"


def test_steps_are_rung_beside_one_that_somebody_holds(squidmesh, clock):
    held, other = (squidmesh.start_run(Straight).id for _ in range(2))
    clock.advance(seconds=10)
    branches = models.branches.c

    def resends(run_id: str) -> int | None:
        with db.engine.connect() as connection:
            query = sa.select(branches.resends).where(branches.run_id == run_id)
            return connection.scalar(query)

    with frozen_with(models.branches, branches.run_id == held):
        assert ticker_gets_through(state().app)
        assert (resends(held), resends(other)) == (0, 1)
    assert tick().due == 1
    assert resends(held) == 1


def test_ticker_goes_on_beside_a_schedule_that_somebody_holds(squidmesh, clock):
    tick()
    clock.advance(seconds=timedelta(hours=15).total_seconds())
    with frozen_with(models.schedules):
        assert ticker_gets_through(state().app)
        assert len(squidmesh.list_runs()) == 0
    assert tick().started == 1
    assert len(squidmesh.list_runs()) == 1

"""The database goes away under workers, and comes back: what was committed is there, once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.contract.host import db, notes
from tests.hostile.worker_app import Plain, Quick, Writing, squidmesh
from tests.hostile.workers import Crew, history, pid_of, see, wait_for_end
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.process import Processes

LEASE = 30
SHORT_LEASE = 3


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of our own, to be taken away."""
    with postgres_server() as started:
        yield started


@pytest.fixture
def lease() -> float:
    return LEASE


@pytest.fixture
def crew(
    processes: Processes, server: PostgresServer, broker_url: str, tmp_path: Path, lease: float
) -> Crew:
    marks = tmp_path / "marks"
    marks.mkdir()
    environment = {
        "DATABASE_URL": server.url(),
        "BROKER_URL": broker_url,
        "SQUIDMESH_LEASE_TTL": str(lease),
    }
    return Crew(processes, marks, environment)


@pytest.fixture(autouse=True)
def client(crew: Crew) -> Iterator[Flask]:
    """The context of the application, on an empty database."""
    with crew.open() as app:
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(sa.delete(table))
        db.session.commit()
        yield app


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_worker_survives_a_restart_and_goes_on(crew: Crew, server: PostgresServer, how: str):
    worker = crew.start_worker()
    before = wait_for_end(squidmesh.start_run(Quick).id)
    getattr(server, how)()
    server.start()
    began = time.monotonic()
    # The connections of this process are gone, too, and neither of the calls is refused.
    assert see(before.id) == before
    after = wait_for_end(squidmesh.start_run(Quick).id)
    print(f"after a {how}: completed {time.monotonic() - began:.2f} s after the start")
    assert (before.status, after.status) == ("completed", "completed")
    assert pid_of(before, "three") == pid_of(after, "one")
    assert worker.is_running()


def test_step_that_ended_while_the_database_was_away_is_recorded(
    crew: Crew, server: PostgresServer
):
    """It used no transaction of its own: what it returned is kept until it can be settled."""
    crew.start_worker()
    run_id = squidmesh.start_run(Plain).id
    crew.wait_for("first-begun-1")
    server.crash()
    crew.let("first", "second")
    crew.wait_for("first-ended-1")
    with pytest.raises(sa.exc.OperationalError):
        squidmesh.start_run(Plain)  # takes some two seconds, in which the worker tries, too
    server.start()
    run = wait_for_end(run_id)
    assert history(run) == {"first": [(1, "completed")], "second": [(1, "completed")]}
    assert not crew.has("first-begun-2")


def test_step_whose_transaction_was_lost_is_executed_again(crew: Crew, server: PostgresServer):
    crew.start_worker()
    run_id = squidmesh.start_run(Writing).id
    crew.wait_for("first-begun-1")
    server.crash()
    server.start()
    crew.let("first", "second")
    run = wait_for_end(run_id)
    assert run.status == "completed"
    (number, last) = history(run)["first"][-1]
    assert (number, last) == (2, "completed")
    assert history(run)["second"] == [(1, "completed")]
    assert notes() == ["first after", "first before"]


@pytest.mark.parametrize("lease", [SHORT_LEASE])
def test_database_that_is_away_for_longer_than_the_lease_costs_an_attempt(
    crew: Crew, server: PostgresServer
):
    worker = crew.start_worker()
    run_id = squidmesh.start_run(Plain).id
    crew.wait_for("first-begun-1")
    server.crash()
    crew.let("first", "second")
    crew.wait_for("first-ended-1")
    # The lease is over, and the worker has given the attempt up.
    worker.wait_for_log("step first of run .* was not finished", timeout=60)
    server.start()
    run = wait_for_end(run_id)
    assert run.status == "completed"
    assert history(run) == {
        "first": [(1, "abandoned"), (2, "completed")],
        "second": [(1, "completed")],
    }
    assert worker.is_running()


def test_call_without_a_database_says_so_soon(server: PostgresServer):
    """What the caller is told is what the driver says; nothing was started."""
    server.stop()
    try:
        began = time.monotonic()
        with pytest.raises(sa.exc.OperationalError):
            squidmesh.start_run(Quick)
        took = time.monotonic() - began
    finally:
        server.start()
    print(f"start_run without a database: {took:.2f} s")
    assert took < 6
    db.engine.dispose()
    assert len(squidmesh.list_runs()) == 0

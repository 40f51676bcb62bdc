"""Runs are executed by worker processes, whatever happens to one of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from flask_squidmesh.clock import wait_until
from tests.acceptance.host import LEASE, Host, attempts_of, process_of
from tests.support.process import Process

AT_ONCE = ("--without-mingle", "--without-gossip")


def belongs_to(attempt, worker: Process) -> bool:
    """Return whether a living process of this worker has made the attempt."""
    return os.getpgid(process_of(attempt)) == worker.pid


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute(statement.encode()).fetchall()


@contextmanager
def account_held(url: str, name: str) -> Iterator[Callable[[], bool]]:
    """Have everybody wait who wants to change this account; gives whether somebody does."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        # Rows that refer to the account can be added all the same.
        connection.execute("SELECT FROM accounts WHERE id = %s FOR NO KEY UPDATE", [name])
        blocked = f"WHERE {connection.info.backend_pid} = ANY (pg_blocking_pids(pid))"
        yield lambda: bool(query(url, f"SELECT FROM pg_stat_activity {blocked}"))
        connection.rollback()


def test_run_started_through_a_view_is_executed_by_a_celery_worker(host: Host, billing_url: str):
    worker = host.start_worker()
    client = host.start_web()
    run = client.wait_for(client.recover("ada"))
    assert run["status"] == "completed"
    assert [each["step"] for each in run["step_runs"]] == [
        "load_invoice",
        "settle",
        "announce",
        "check_gateway",
        "notify_customer",
    ]
    tried = attempts_of(run, "check_gateway")
    assert [attempt["status"] for attempt in tried] == ["failed", "completed"]
    made = [attempt for each in run["step_runs"] for attempt in each["attempts"]]
    assert all(belongs_to(attempt, worker) for attempt in made)
    assert query(billing_url, "SELECT status FROM invoices WHERE id = 'invoice-ada'") == [("paid",)]
    assert query(billing_url, "SELECT count(*) FROM notifications") == [(1,)]


@pytest.mark.parametrize("killed", ["the worker", "one of its children"])
def test_step_of_a_killed_worker_is_completed_by_another_in_time(
    host: Host, billing_url: str, killed: str
):
    """The step has sent its writes to the database, and waits there, when its worker dies."""
    victim = host.start_worker()
    client = host.start_web()
    with account_held(billing_url, "grace") as somebody_waits:
        run_id = client.recover("grace")
        assert wait_until(somebody_waits, timeout=20, interval=0.1)
        (attempt,) = attempts_of(client.run(run_id), "issue_credit")
        assert belongs_to(attempt, victim)
        # It takes longer to start than the lease lasts: the victim's heartbeat is seen to work.
        other = host.start("squidmesh", "worker", "-c", "2", *AT_ONCE, ready=r"celery@\S+ ready\.")
        (attempt,) = attempts_of(client.run(run_id), "issue_credit")
        assert attempt["status"] == "running"
        killed_at = time.monotonic()
        if killed == "the worker":
            os.killpg(victim.pid, 9)
        else:
            os.kill(process_of(attempt), 9)
    run = client.wait_for(run_id)
    took = time.monotonic() - killed_at
    print(f"takeover after kill -9 of {killed}: {took:.2f} s with a lease of {LEASE} s")

    assert run["status"] == "completed"
    first, second = attempts_of(run, "issue_credit")
    assert (first["status"], second["status"]) == ("abandoned", "completed")
    assert first["worker"] != second["worker"]
    assert belongs_to(second, other) or killed != "the worker"
    assert query(billing_url, "SELECT account_id, amount FROM credits") == [("grace", 4200)]
    assert query(billing_url, "SELECT balance FROM accounts WHERE id = 'grace'") == [(4200,)]
    assert took <= LEASE + 1

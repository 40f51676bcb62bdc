"""Connections to the broker: one per process that sends, however much it sends and forks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from flask_squidmesh.clock import Clock, wait_until
from flask_squidmesh.dispatch.transport import Transport
from tests.hostile.worker_app import Quick, squidmesh
from tests.hostile.workers import Crew, open_crew, wait_for_end
from tests.support.process import Processes
from tests.support.valkey import Broker

RUNS = 60

FORKS = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # it is a thread of ours that forks do not copy
import redis
from tests.hostile.worker_app import Quick, app, squidmesh

client = redis.Redis.from_url(os.environ["BROKER_URL"])

def count():
    return len(client.client_list())

with app.app_context():
    squidmesh.start_run(Quick)
    before = count()
    for number in range(15):
        child = os.fork()
        if child == 0:
            for _ in range(3):
                squidmesh.start_run(Quick)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        squidmesh.start_run(Quick)
    print(before, count(), client.llen("squidmesh"))
"""


@pytest.fixture
def environment(postgres_database_url: str, broker: Broker) -> dict[str, str]:
    return {"DATABASE_URL": postgres_database_url, "BROKER_URL": broker.url}


@pytest.fixture
def crew(processes: Processes, environment: dict[str, str], tmp_path: Path) -> Iterator[Crew]:
    with open_crew(processes, tmp_path, environment) as opened:
        yield opened


@pytest.fixture
def connections(broker: Broker) -> Iterator[Callable[[], int]]:
    """Count what the broker has open, besides the connection that asks."""
    with redis.Redis.from_url(broker.url) as client:
        yield lambda: len([c for c in client.client_list() if "client|list" not in c["cmd"]])


def work_through(count: int) -> None:
    run_ids = [squidmesh.start_run(Quick).id for _ in range(count)]
    assert {wait_for_end(run_id).status for run_id in run_ids} == {"completed"}


def test_connections_of_workers_and_clients_do_not_grow(crew: Crew, connections: Callable[[], int]):
    """Children come and go as well: each has one connection, and none is left behind."""
    squidmesh.start_run(Quick)
    before = connections()  # of this process
    worker = crew.start_worker("--max-tasks-per-child", "20", concurrency=2)
    work_through(RUNS)
    once = connections()
    for _ in range(3):
        work_through(RUNS)
    children = len(psutil.Process(worker.pid).children())
    assert wait_until(lambda: connections() <= once + children, timeout=10)
    print(f"{once} connections after {RUNS} runs, {connections()} after {4 * RUNS}")
    worker.terminate()
    assert wait_until(lambda: connections() <= before, timeout=10)


def test_connections_do_not_grow_while_the_broker_comes_and_goes(
    crew: Crew, broker: Broker, connections: Callable[[], int]
):
    crew.start_worker()
    work_through(5)
    once = connections()
    for _ in range(5):
        broker.stop()
        left = squidmesh.start_run(Quick).id
        broker.start()
        # Nobody does anything about it: it is found when the broker is back.
        assert wait_for_end(left).status == "completed"
    # What had no reason to connect before may have one now: the ticker's line and a child's. What
    # an outage left behind would be five times there.
    assert wait_until(lambda: connections() <= once + 3, timeout=15), (once, connections())
    print(f"{once} connections before, {connections()} after five outages")


def test_forks_leave_no_connections_behind(crew: Crew, environment: dict[str, str]):
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after, messages = map(int, done.stdout.split())
    assert messages == 1 + 15 * 4
    assert after == before


def test_idle_process_keeps_its_connection(broker: Broker, connections: Callable[[], int]):
    """Each round of a ticker asks for the length of a queue that does not exist when empty."""
    celery = Celery("idle", broker=broker.url, set_as_current=False)
    transport = Transport(celery, "squidmesh", clock=Clock())
    assert transport.depth() == 0
    once = connections()
    for _ in range(20):
        assert transport.depth() == 0
    assert connections() == once
    transport.close()

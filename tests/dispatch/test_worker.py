"""Real Celery workers: where the helper threads run, and how a worker ends."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import urllib.request
from collections import defaultdict

import psutil
import pytest
from celery import Celery

from flask_squidmesh.clock import Clock, wait_until
from flask_squidmesh.config import Settings
from flask_squidmesh.dispatch.transport import Transport
from flask_squidmesh.dispatch.worker import worker_arguments
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.ids import new_id

APP = "tests.dispatch.host_app:celery_app"
FLASK = (sys.executable, "-m", "flask", "--app", "tests.dispatch.host_app", "squidmesh")
POOLS = ["prefork", "threads", "solo"]


class Diary:
    """What the engine of `host_app` has written: for every entry, the processes that did."""

    def __init__(self, path):
        self.path = path
        path.touch()

    @property
    def entries(self):
        found = defaultdict(list)
        for line in self.path.read_text().splitlines():
            *words, pid = line.split()
            found[" ".join(words)].append(int(pid))
        return found

    def wait_for(self, entry, *, count=1):
        assert wait_until(lambda: len(self.entries[entry]) >= count, timeout=15), self.entries


@pytest.fixture
def diary(tmp_path):
    return Diary(tmp_path / "diary")


@pytest.fixture
def env(broker_url, diary):
    return {"BROKER_URL": broker_url, "DIARY": str(diary.path)}


@pytest.fixture
def ring(broker_url):
    celery = Celery(set_as_current=False, broker=broker_url)
    transport = Transport(celery, "squidmesh", clock=Clock())

    def send(step, count=1):
        assert transport.publish([Ring(new_id(), step) for _ in range(count)]) == count

    yield send
    transport.close()


def children(process):
    return {child.pid for child in psutil.Process(process.pid).children(recursive=True)}


@pytest.mark.parametrize("pool", POOLS)
def test_helpers_run_where_steps_are_executed(worker_process, diary, env, ring, pool):
    worker = worker_process(APP, "--pool", pool, env=env)
    ring("load", 20)
    diary.wait_for("deliver load", count=20)
    where = children(worker) if pool == "prefork" else {worker.pid}
    diary.wait_for("tick squidmesh-ticker", count=3 * len(where))
    diary.wait_for("renew squidmesh-heartbeat", count=3 * len(where))
    entries = diary.entries
    assert set(entries["tick squidmesh-ticker"]) == where
    assert set(entries["renew squidmesh-heartbeat"]) == where
    assert set(entries["deliver load"]) <= where
    assert worker.terminate() == 0
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("pool", POOLS)
def test_warm_shutdown_is_seen_inside_a_step(worker_process, diary, env, ring, pool):
    worker = worker_process(APP, "--pool", pool, env=env)
    ring("until_told")
    diary.wait_for("deliver until_told")
    assert not diary.entries["told"]
    worker.send(signal.SIGTERM)
    diary.wait_for("told")
    assert worker.wait_for_end() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_short_delays_end_on_time_without_the_ticker(worker_process, diary, env, ring, pool):
    worker_process(APP, "--pool", pool, env={**env, "TICK_INTERVAL": "600"})
    ring("retry_soon")
    diary.wait_for("deliver retried")


def test_replaced_children_have_helpers(worker_process, diary, env, ring):
    worker = worker_process(APP, "--max-tasks-per-child", "1", env=env)
    first = children(worker)
    ring("load", 2)
    diary.wait_for("deliver load", count=2)

    def successors():
        return set(diary.entries["tick squidmesh-ticker"]) - first

    assert wait_until(lambda: len(successors()) == 2, timeout=15)
    assert successors() == children(worker)


def test_garbage_does_not_hurt_a_worker(worker_process, diary, env, ring, broker_url):
    worker = worker_process(APP, env=env)
    sender = Celery(set_as_current=False, broker=broker_url)
    forged: list[tuple[list[object], dict[str, object]]] = [
        ([], {}),
        ([1, 2, 3], {}),
        ([None], {"a": []}),
        (["x", "y"], {}),
    ]
    for args, kwargs in forged:
        sender.send_task("squidmesh.run_step", args, kwargs, queue="squidmesh", ignore_result=True)
    ring("load")
    diary.wait_for("deliver load")
    sender.close()
    assert worker.terminate() == 0
    assert "Traceback" not in worker.log
    assert "names no run and step" in worker.log


@pytest.mark.parametrize("pool", POOLS)
def test_command_runs_a_worker_on_the_right_queue(process, diary, env, ring, pool):
    worker = process(*FLASK, "worker", "-c", "2", "--pool", pool, env=env, ready=r" ready\.")
    ring("load")
    diary.wait_for("deliver load")
    diary.wait_for("tick squidmesh-ticker")
    assert re.search(r"^\s*\.> squidmesh\s", worker.log, re.MULTILINE)
    assert worker.terminate() == 0
    assert "Traceback" not in worker.log


def test_worker_arguments_can_be_overridden():
    arguments = worker_arguments(
        Settings(queue="slow"), concurrency=3, pool="solo", extra=("-Q", "slow,emails")
    )
    assert arguments == [
        *("worker", "--queues", "slow", "--loglevel", "info"),
        *("--prefetch-multiplier", "1", "-O", "fair"),
        *("--concurrency", "3", "--pool", "solo", "-Q", "slow,emails"),
    ]


def test_tick_command_does_one_round(process, diary, env):
    ticked = process(*FLASK, "tick", env={**env, "TICK_RINGS": "1"})
    assert ticked.wait_for_end() == 0
    assert ticked.log == "rang 1 steps, found 0 expired leases, started 0 cron runs\n"
    assert len(diary.entries["tick MainThread"]) == 1


def test_tick_command_speaks_json(process, env):
    ticked = process(*FLASK, "tick", "--json", env=env)
    assert ticked.wait_for_end() == 0
    assert json.loads(ticked.log) == {"due": 0, "expired": 0, "started": 0}


def test_tick_command_goes_on_until_it_is_asked_to_end(process, diary, env):
    ticking = process(*FLASK, "tick", "--forever", env=env)
    diary.wait_for("tick squidmesh-ticker", count=3)
    assert ticking.terminate() == 0
    assert ticking.log == ""


def test_dev_command_serves_and_works_in_one_process(process, diary, env):
    env = {**env, "BROKER_URL": "redis://127.0.0.1:1/0"}
    serving = process(*FLASK, "dev", "--port", "0", env=env, ready="Serving on ")
    found = re.search(r"http://[\d.]+:\d+", serving.log)
    assert found is not None
    with urllib.request.urlopen(found.group(), timeout=10) as answer:  # noqa: S310  # http
        assert answer.read() == b"served"
    diary.wait_for("deliver from_view")
    diary.wait_for("tick squidmesh-ticker")
    everything = {pid for pids in diary.entries.values() for pid in pids}
    assert everything == {serving.pid}
    assert os.getpid() not in everything
    assert serving.terminate() == 0
    assert "Traceback" not in serving.log

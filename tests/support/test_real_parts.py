"""The fixtures give what they promise: real servers, real processes, nothing left behind."""

from __future__ import annotations

import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from celery import Celery

from flask_squidmesh.clock import wait_until
from tests.support.postgres import postgres_server
from tests.support.process import survivors

APP = "tests.support.celery_app:celery_app"
PARENT_OF_A_SLEEPER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"])
"""


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def prepare(url: str) -> None:
    query(url, "CREATE TABLE animals (name VARCHAR(10))")
    query(url, "INSERT INTO animals VALUES ('squid')")


def test_postgresql_is_18(postgres_database_url):
    version = query(postgres_database_url, "SHOW server_version_num")
    assert 180000 <= int(str(version[0][0])) < 190000


def test_postgresql_is_durable_and_has_room(postgres_database_url):
    shown = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
    assert query(postgres_database_url, shown) == [("on", "on")]
    assert query(postgres_database_url, "SHOW max_connections") == [("100",)]


def test_postgresql_keeps_what_was_committed_before_a_crash():
    with postgres_server() as server:
        query(server.url(), "CREATE TABLE animals (name text)")
        query(server.url(), "INSERT INTO animals VALUES ('squid')")
        server.crash()
        server.start()
        assert query(server.url(), "SELECT name FROM animals") == [("squid",)]


def test_database_is_empty(database_url):
    engine = sa.create_engine(database_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_sqlite_file_is_in_wal_mode(sqlite_databases):
    url = sqlite_databases.create()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    sqlite_databases.drop(url)


def test_prepared_database_is_made_once_and_copied(databases):
    calls = []

    def prepare_and_count(url: str) -> None:
        calls.append(url)
        prepare(url)

    first, second = databases.create(prepare_and_count), databases.create(prepare_and_count)
    query(first, "DELETE FROM animals")

    assert len(calls) == 1
    assert query(second, "SELECT name FROM animals") == [("squid",)]


def test_dropped_database_is_gone(databases):
    url = databases.create(prepare)
    databases.drop(url)
    with pytest.raises(sa.exc.DBAPIError):
        query(url, "SELECT name FROM animals")


@pytest.mark.parametrize("turn", [1, 2])
def test_broker_holds_nothing_from_another_test(broker_url, turn):
    with redis.Redis.from_url(broker_url) as client:
        assert client.ping()
        assert client.keys() == []
        client.set("left", turn)


def test_broker_comes_back_under_its_address(broker):
    with redis.Redis.from_url(broker.url) as client:
        client.set("message", 1)
        broker.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        broker.start()
        assert client.get("message") is None


def test_flushed_broker_has_lost_everything(broker):
    with redis.Redis.from_url(broker.url) as client:
        client.set("message", 1)
        broker.flush()
        assert client.dbsize() == 0


def test_worker_executes_what_is_sent(worker_process, broker_url, tmp_path):
    worker_process(APP, env={"BROKER_URL": broker_url})
    assert send("touch", broker_url, tmp_path / "seen")


def test_worker_ends_orderly_when_asked(worker_process, broker_url):
    worker = worker_process(APP, env={"BROKER_URL": broker_url})
    assert worker.terminate() == 0
    assert "Warm shutdown" in worker.log


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_killed_worker_is_gone_with_its_children(worker_process, broker_url, tmp_path, pool):
    before = {process.pid for process in survivors()}
    worker = worker_process(APP, "--pool", pool, env={"BROKER_URL": broker_url})
    assert send("hang", broker_url, tmp_path / "hanging")

    worker.kill9()

    assert not worker.is_running()
    assert {process.pid for process in survivors()} <= before


def test_worker_that_cannot_start_shows_its_log(worker_process):
    with pytest.raises(AssertionError, match="no_such_module"):
        worker_process("no_such_module:app")


def test_process_that_lost_its_parent_is_still_known(process):
    def family():
        return {each.pid for each in survivors() if "signal.pause" in " ".join(each.cmdline())}

    parent = process(sys.executable, "-c", PARENT_OF_A_SLEEPER, ready="up")
    assert len(family()) == 2

    parent.send(signal.SIGKILL)

    assert wait_until(lambda: len(family()) == 1, timeout=10)


def send(task: str, broker_url: str, path: Path) -> bool:
    """Send a task that touches *path*; return whether a worker did."""
    with Celery(broker=broker_url) as sender:
        sender.send_task(task, [str(path)], queue="squidmesh", ignore_result=True)
        return wait_until(path.exists, timeout=10)

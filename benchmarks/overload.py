"""What does one ticker do with very many timers, when very many of them end at once?

    python -m benchmarks.overload [--waiting 100000] [--due 50000] [--silent 60] [--workers N]

Fills a temporary PostgreSQL with runs that wait, lets one ticker with a Valkey
look at them, and prints a line of JSON per stage:

* `idle`: nothing is due; what a round costs.
* `burst`: all of `--due` end at once and no worker listens; how fast they are
  rung, how large the rounds are, how the memory grows, how soon a lease that
  runs out in the middle is noticed.
* `silence`: still nobody listens; how many messages there are for each step
  after `--silent` seconds.
* `drain`, with `--workers`: Celery workers execute everything; how many messages
  it took.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psutil
import redis
import sqlalchemy as sa
from celery import Celery
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import SquidMesh
from flask_squidmesh.clock import wait_until
from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.threads import TickerThread
from flask_squidmesh.dispatch.ticker import LIMIT
from flask_squidmesh.engine.news import News
from flask_squidmesh.store.models import attempts, branches
from tests.load.rows import Sleeper, insert_running, insert_waiting
from tests.support.postgres import postgres_server
from tests.support.process import MARK, Processes
from tests.support.valkey import Broker

ROUNDS: Final = 50
PATIENCE: Final = 3600.0
db = SQLAlchemy()


def make_app(database_url: str, broker_url: str) -> Flask:
    """Return an application that knows the workflow of the benchmark."""
    app = Flask("benchmarks.overload")
    app.config.update(SQLALCHEMY_DATABASE_URI=database_url)
    db.init_app(app)
    celery = Celery("overload", broker=broker_url, set_as_current=False)
    celery.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
    app.extensions["celery"] = celery
    SquidMesh(app, db=db, workflows=[Sleeper])
    return app


def __getattr__(name: str) -> Any:
    """Give a worker process its Celery app: `celery -A benchmarks.overload:celery_app`."""
    if name != "celery_app":
        raise AttributeError(name)
    app = make_app(os.environ["DATABASE_URL"], os.environ["BROKER_URL"])
    globals()["app"] = app  # workers find it by a weak reference
    return app.extensions["celery"]


class Bench:
    """One application, its broker, and what its ticker does."""

    def __init__(self, app: Flask, broker_url: str) -> None:
        self.app = app
        self.client = redis.Redis.from_url(broker_url)
        self.largest = 0
        self.rung = 0
        self.rounds = 0
        self.statements = 0
        self._process = psutil.Process()
        state = state_of(app)
        announce = state.announce

        def count(news: News) -> None:
            self.largest = max(self.largest, len(news.rings))
            self.rung += len(news.rings)
            self.rounds += 1
            announce(news)

        state.announce = count
        sa.event.listen(db.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.statements += 1

    @property
    def messages(self) -> int:
        """How many messages wait in the queue."""
        return int(self.client.llen("squidmesh"))

    @property
    def sent(self) -> int:
        """How many messages were ever put into a queue."""
        stats: Any = self.client.info("commandstats")
        return int(stats.get("cmdstat_lpush", {}).get("calls", 0))

    @property
    def memory(self) -> float:
        """MiB of this process."""
        return float(self._process.memory_info().rss / 2**20)

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Keep one ticker at work."""
        ticker = TickerThread(self.app, ticking=True)
        ticker.start()
        try:
            yield
        finally:
            ticker.stop(timeout=10)


def report(stage: str, **values: object) -> None:
    """Print one line for programs."""
    shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"stage": stage, **shown}), flush=True)  # noqa: T201  # its purpose


def in_database(seconds: float) -> Any:
    """Return the database's time in *seconds*."""
    with db.engine.connect() as connection:
        return connection.scalar(sa.func.clock_timestamp()) + timedelta(seconds=seconds)


def idle(bench: Bench) -> None:
    """Say what a round costs that finds nothing."""
    engine = state_of(bench.app).engine()
    engine.tick(limit=LIMIT)
    before, took = bench.statements, []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        engine.tick(limit=LIMIT)
        took.append((time.perf_counter() - began) * 1000)
    report(
        "idle",
        statements_per_round=(bench.statements - before) / ROUNDS,
        milliseconds_per_round=statistics.median(took),
    )


def burst(bench: Bench, due: int) -> None:
    """Say what one ticker does with *due* timers that end at once."""
    with db.engine.begin() as connection:
        # Due after the timers, and noticed nevertheless while they are rung.
        insert_running(connection, 1, due_at=in_database(1))
    before, memory, highest = bench.statements, bench.memory, 0.0
    began = time.perf_counter()
    lost_after: float | None = None
    with bench.ticking():
        while bench.rung < due:
            wait_until(lambda: bench.rung >= due, timeout=0.2)
            highest = max(highest, bench.memory)
            if lost_after is None and _has_lost_one():
                lost_after = time.perf_counter() - began - 1
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit("the ticker does not come to an end")
        took = time.perf_counter() - began
    report(
        "burst",
        due=due,
        seconds=took,
        woken_per_second=due / took,
        largest_round=bench.largest,
        limit=LIMIT,
        statements_per_step=(bench.statements - before) / due,
        messages=bench.messages,
        grown_mib=highest - memory,
        lease_noticed_after=lost_after,
    )


def _has_lost_one() -> bool:
    with db.engine.connect() as connection:
        query = sa.select(attempts.c.run_id).where(attempts.c.status == "abandoned").limit(1)
        return connection.execute(query).first() is not None


def silence(bench: Bench, due: int, seconds: float) -> None:
    """Say how messages multiply when nobody takes any."""
    memory = bench.memory
    with bench.ticking():
        wait_until(lambda: False, timeout=seconds)
    report(
        "silence",
        seconds=seconds,
        messages=bench.messages,
        messages_per_step=bench.messages / due,
        grown_mib=bench.memory - memory,
    )


def drain(bench: Bench, due: int, workers: int, env: dict[str, str]) -> None:
    """Say how long workers take for everything, and how many messages it took."""
    os.environ.setdefault(MARK, "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(Path(folder), cwd=Path(__file__).parents[1])
        started = []
        try:
            began, sent = time.perf_counter(), bench.sent
            started += [
                processes.start_worker("benchmarks.overload:celery_app", env=env)
                for _ in range(workers)
            ]
            if not wait_until(lambda: _count_due() == 0, timeout=PATIENCE, interval=1):
                raise SystemExit("the workers do not come to an end")
            took = time.perf_counter() - began
            wait_until(lambda: bench.messages == 0, timeout=PATIENCE, interval=1)
        finally:
            for process in started:
                process.kill9()
    report(
        "drain",
        seconds=took,
        runs_per_second=due / took,
        sent_meanwhile=bench.sent - sent,
        messages_per_step=bench.sent / due,
    )


def _count_due() -> int:
    query = sa.select(sa.func.count()).where(branches.c.due_at < in_database(1800))
    with db.engine.connect() as connection:
        return connection.scalar(query) or 0


def main(arguments: Sequence[str]) -> None:
    """Fill the database and go through the stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--due", type=int, default=50_000)
    parser.add_argument("--silent", type=float, default=60)
    parser.add_argument("--workers", type=int, default=0)
    asked = parser.parse_args(arguments)
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        broker = Broker(Path(folder))
        stack.callback(broker.remove)
        app = make_app(server.url(), broker.url)
        stack.enter_context(app.app_context())
        db.create_all()
        bench = Bench(app, broker.url)
        with db.engine.begin() as connection:
            insert_waiting(connection, asked.waiting, due_at=in_database(7200))
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
        idle(bench)
        with db.engine.begin() as connection:
            insert_waiting(connection, asked.due, due_at=in_database(0))
        burst(bench, asked.due)
        silence(bench, asked.due, asked.silent)
        if asked.workers:
            env = {"DATABASE_URL": server.url(), "BROKER_URL": broker.url}
            drain(bench, asked.due, asked.workers, env)
        db.session.remove()
        db.engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1:])

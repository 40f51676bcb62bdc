"""What does the work leave behind in the tables?

    python -m benchmarks.tables [--quick] [--json FILE]

Two processes execute runs against a temporary PostgreSQL, with retries, timers
and a fan-out among them, while its statistics are read every second: which updates
there were and which of them were HOT (made on the same page, touching no
index), how many dead rows stand in the narrow tables, and how large all tables
are in the end.

Autovacuum looks at a database once per `autovacuum_naptime`; here that is ten
seconds, so that a few minutes show what happens in an hour with the default of
a minute.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from multiprocessing.synchronize import Event
from typing import Any, Final

import sqlalchemy as sa

from benchmarks import alone
from benchmarks.report import Bar, Measure, Reading
from benchmarks.schema import migrate
from benchmarks.solo import FiveSteps, Solo, solo
from flask_squidmesh import Retry, RetryStep, StepContext, Workflow, complete, manual, step, wait
from flask_squidmesh.clock import wait_until
from tests.support.postgres import postgres_server

WIDE: Final = ("runs", "step_runs", "attempts")
NARROW: Final = ("branches", "run_states", "joins")
_STATISTICS: Final = sa.text(
    "SELECT relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_dead_tup, pg_relation_size(relid), "
    "pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE relname LIKE 'squidmesh_%'"
)


def hesitate(context: StepContext) -> None:
    """Fail once."""
    if context.attempt == 1:
        raise RetryStep("not yet", delay=0.1)


class Hesitant(Workflow):
    """A retry and a timer."""

    go = manual()
    first = step(hesitate, retry=Retry(max_attempts=3))
    rest = wait(seconds=0.2)
    last = step(lambda: {"last": True})
    transitions = [first >> rest >> last >> complete]


class Forked(Workflow):
    """A fan-out and a join."""

    go = manual()
    fetch = step(lambda: {"fetched": 3})
    left = step(lambda: {"left": 1}, after=[fetch])
    right = step(lambda: {"right": 2}, after=[fetch])
    both = step(lambda: None, after=[left, right])


WORKFLOWS: Final = (FiveSteps, Hesitant, FiveSteps, Forked)
"""Straight runs are the half of it."""


def work(url: str, ended: Event) -> None:
    """Start and execute runs until it is over."""
    # Its steps are to fail.
    logging.getLogger("flask_squidmesh.steps").disabled = True
    with solo(url, list(dict.fromkeys(WORKFLOWS))) as here:
        while not ended.is_set():
            for workflow in WORKFLOWS:
                here.run(workflow)
            _finish(here)


def _finish(here: Solo) -> None:
    """Do what is ready, and what timers and retries have made ready."""
    with here.app.app_context():
        ready = here.engine.list_ready(limit=100)
        _, news = here.engine.tick()
    for ring in {*ready, *news.rings}:
        here.deliver(ring.run_id, ring.step)


def read(connection: sa.Connection) -> Mapping[str, Any]:
    """Return the statistics of our tables, by their short names."""
    rows = connection.execute(_STATISTICS).all()
    connection.rollback()
    return {row.relname.removeprefix("squidmesh_"): row for row in rows}


def take(*, full: bool) -> Iterator[Reading]:
    """Work for a while, and look at the tables."""
    seconds = 300 if full else 40
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        engine = sa.create_engine(server.url())
        stack.callback(engine.dispose)
        connection = stack.enter_context(engine.connect())
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as apart:
            apart.execute(sa.text("ALTER SYSTEM SET autovacuum_naptime = 10"))
            apart.execute(sa.text("SELECT pg_reload_conf()"))
        migrate(engine)
        context = multiprocessing.get_context("spawn")
        ended = context.Event()
        workers = [context.Process(target=work, args=(server.url(), ended)) for _ in range(2)]
        for worker in workers:
            worker.start()
        samples: list[Mapping[str, Any]] = []
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            wait_until(lambda: False, timeout=1)
            samples.append(read(connection))
        ended.set()
        for worker in workers:
            worker.join()
        last = read(connection)
    runs = last["runs"].n_tup_ins
    updates = sum(last[name].n_tup_upd for name in WIDE)
    hot = sum(last[name].n_tup_hot_upd for name in WIDE)
    yield Reading("runs", runs, "")
    yield Reading("updates of runs, step runs and attempts", updates, "")
    yield Reading("HOT share of them (1 without any)", hot / updates if updates else 1.0, "")
    for name in NARROW:
        row = last[name]
        if row.n_tup_upd:
            yield Reading(f"HOT share of updates of {name}", row.n_tup_hot_upd / row.n_tup_upd, "")
    middle = samples[len(samples) // 2]
    for name in NARROW:
        dead = [sample[name].n_dead_tup for sample in samples]
        yield Reading(f"most dead rows in {name}", max(dead), "")
    # Below a MiB nothing has grown yet.
    sizes = [max(2**20, each["branches"].pg_relation_size) for each in (middle, last)]
    grown = sizes[1] / sizes[0]
    yield Reading("size of branches, in the end", last["branches"].pg_relation_size / 2**20, "MiB")
    yield Reading("size of branches, in the end against half-way", grown, "x")
    total = sum(row.pg_total_relation_size for row in last.values())
    yield Reading("growth per run, indexes included", total / runs / 1024, "KiB")


MEASURES: Final = (
    Measure(
        name="tables",
        question="what the work leaves behind in the tables",
        take=take,
        bars={
            "HOT share of them (1 without any)": Bar(at_least=0.9),
            "size of branches, in the end against half-way": Bar(at_most=1.2),
        },
    ),
)

if __name__ == "__main__":
    alone.take(MEASURES, sys.argv[1:], about=__doc__)

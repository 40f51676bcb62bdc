"""Does a worker grow with the runs it has executed?

    python -m benchmarks.memory [--quick] [--json FILE]

A Celery worker with one child executes run after run, each with a payload of
its own, of a transition and of a dependency workflow in turns. Its memory is
read when everything that was started has ended: after a tenth of all runs, and
after all.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psutil
import sqlalchemy as sa
from celery import Celery
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields

from benchmarks import alone
from benchmarks.report import Bar, Measure, Reading
from flask_squidmesh import SquidMesh, Workflow, complete, manual, step
from flask_squidmesh.clock import wait_until
from flask_squidmesh.ids import new_id
from flask_squidmesh.store.models import branches
from tests.support.postgres import postgres_server
from tests.support.process import MARK, Process, Processes
from tests.support.valkey import Broker

AT_ONCE: Final = 500
PATIENCE: Final = 600.0
CHECKOUT: Final = Path(__file__).parents[1]
db = SQLAlchemy()


class Straight(Workflow):
    """Two steps, one after the other."""

    go = manual(key=fields.String(required=True))
    one = step(lambda key: {"one": key})
    two = step(lambda key: {"two": key})
    transitions = [one >> two >> complete]


class Forked(Workflow):
    """Two steps side by side, and one after both."""

    go = manual(key=fields.String(required=True))
    left = step(lambda key: {"left": key})
    right = step(lambda key: {"right": key})
    both = step(lambda left, right: {"both": [left, right]}, after=[left, right])


WORKFLOWS: Final = (Straight, Forked)


def make_app(squidmesh: SquidMesh) -> Flask:
    """Return the application of the worker, and of the program that starts the runs."""
    app = Flask("benchmarks.memory")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
        # Only memory is measured, and nothing crashes.
        SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"options": "-c synchronous_commit=off"}},
    )
    db.init_app(app)
    celery = Celery("memory", broker=os.environ["BROKER_URL"], set_as_current=False)
    celery.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
    app.extensions["celery"] = celery
    squidmesh.init_app(app, db=db)
    return app


def __getattr__(name: str) -> Any:
    """Give a worker process its Celery app: `celery -A benchmarks.memory:celery_app`."""
    if name != "celery_app":
        raise AttributeError(name)
    app = make_app(SquidMesh(workflows=WORKFLOWS))
    globals()["app"] = app  # workers find it by a weak reference
    return app.extensions["celery"]


def unfinished() -> int:
    """Return how many steps are active."""
    with db.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(branches)) or 0


def execute(squidmesh: SquidMesh, count: int) -> None:
    """Start so many runs, never very many at once, and wait until all have ended."""
    for number in range(count):
        squidmesh.start_run(WORKFLOWS[number % len(WORKFLOWS)], {"key": new_id()})
        if number % (AT_ONCE // 2) == 0:
            _wait(AT_ONCE)
    _wait(0)


def _wait(most: int) -> None:
    if not wait_until(lambda: unfinished() <= most, timeout=PATIENCE, interval=0.1):
        raise SystemExit("the worker does not come to an end")


def resident(worker: Process) -> tuple[float, float]:
    """Return the MiB of the worker's child, and of the worker itself."""
    parent = psutil.Process(worker.pid)
    (child,) = parent.children()
    return child.memory_info().rss / 2**20, parent.memory_info().rss / 2**20


def take(*, full: bool) -> Iterator[Reading]:
    """Let a worker execute runs, and look at it after a tenth and at the end."""
    count = 100_000 if full else 5_000
    os.environ.setdefault(MARK, "benchmark")
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        broker = Broker(Path(folder))
        stack.callback(broker.remove)
        env = {"DATABASE_URL": server.url(), "BROKER_URL": broker.url}
        os.environ.update(env)
        squidmesh = SquidMesh(workflows=WORKFLOWS)
        app = make_app(squidmesh)
        stack.enter_context(app.app_context())
        stack.callback(db.engine.dispose)
        db.create_all()
        processes = Processes(Path(folder), cwd=CHECKOUT)
        worker = processes.start_worker("benchmarks.memory:celery_app", concurrency=1, env=env)
        stack.callback(worker.kill9)
        execute(squidmesh, count // 10)
        before, parent_before = resident(worker)
        execute(squidmesh, count - count // 10)
        after, parent_after = resident(worker)
    yield Reading("runs", count, "")
    yield Reading("worker's child after a tenth", before, "MiB")
    yield Reading("worker's child after all", after, "MiB")
    yield Reading("memory after all runs, against after a tenth", after / before, "x")
    yield Reading("worker's parent, likewise", parent_after / parent_before, "x")


MEASURES: Final = (
    Measure(
        name="memory",
        question="memory of a worker, however many runs it has executed",
        take=take,
        bars={"memory after all runs, against after a tenth": Bar(at_most=1.1)},
    ),
)

if __name__ == "__main__":
    alone.take(MEASURES, sys.argv[1:], about=__doc__)

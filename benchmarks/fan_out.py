"""What does a branch cost in a fan-out with a join, however many there are?

    python -m benchmarks.fan_out [--database sqlite|postgresql]
                                 [--driver helper|worker|processes] [--workers N]
                                 [--sizes 100 1000 10000] [--repeat N]

A dependency workflow: one root, that many branches, one join; the step
functions do nothing. The cost per branch is expected to be flat: its ratio to
that of the smallest size is printed beside it. `helper` executes in this thread
(`run_until_idle`), `worker` with an embedded worker and a broker in memory, and
`processes` with that many Celery workers of one child each and a Valkey.
Servers and databases are temporary. Of several repetitions, which take turns,
the fastest is printed for each size.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from celery import Celery
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import Run, SquidMesh, Workflow, manual, signals, sqlite, step
from flask_squidmesh.clock import wait_until
from flask_squidmesh.definition.workflow import WorkflowType
from flask_squidmesh.dispatch.embedded import EmbeddedWorker
from flask_squidmesh.store.models import run_states
from flask_squidmesh.testing import run_until_idle
from tests.support.databases import PostgresDatabases
from tests.support.postgres import postgres_server
from tests.support.process import MARK, Processes
from tests.support.valkey import Broker

PATIENCE: Final = 1800.0
"""Seconds a fan-out may take with a worker."""
WARM_UP: Final = 10
"""Branches of a run before the first that counts: imports, connections and caches."""


@dataclass(frozen=True)
class Measured:
    """What one fan-out took, in seconds."""

    branches: int
    declare: float
    start: float
    execute: float
    inspect: float

    @property
    def per_branch(self) -> float:
        """Milliseconds of starting and executing, for each branch."""
        return (self.start + self.execute) / self.branches * 1000


def fan_out(width: int) -> type[Workflow]:
    """Return a workflow with *width* branches between a root and a join."""
    names = [f"branch_{number}" for number in range(width)]
    body: dict[str, Any] = {"go": manual(), "root": step(lambda: None)}
    body |= {name: step(lambda: None, after=["root"]) for name in names}
    body["join"] = step(lambda: None, after=names)
    made: Any = WorkflowType(f"FanOut{width}", (Workflow,), body)
    return cast("type[Workflow]", made)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long *call* took, and its result."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


class Bench:
    """One application, and the way its work is executed."""

    def __init__(self, app: Flask, squidmesh: SquidMesh, driver: str) -> None:
        self.app = app
        self.squidmesh = squidmesh
        self.driver = driver
        self.over: set[str] = set()
        self.known: dict[int, type[Workflow]] = {}
        signals.run_transition.connect(self._note_end, app)

    def _note_end(self, _: Flask, *, run_id: str, to_status: str, **__: object) -> None:
        if to_status in ("completed", "failed", "cancelled"):
            self.over.add(run_id)

    def measure(self, width: int) -> Measured:
        """Declare, start and execute a fan-out of *width* branches."""
        declare, workflow = timed(lambda: fan_out(width))
        workflow = self.known.setdefault(width, workflow)
        self.squidmesh.register(workflow)
        start, run = timed(lambda: self.squidmesh.start_run(workflow))
        execute, _ = timed(lambda: self.finish(run.id, width))
        inspect, run = timed(lambda: self.squidmesh.inspect_run(run.id, include_history=True))
        self.check(run, width)
        return Measured(width, declare, start, execute, inspect)

    def finish(self, run_id: str, width: int) -> None:
        """Execute the run to its end."""
        if self.driver == "helper":
            run_until_idle(limit=width + 2)
            return
        if not wait_until(lambda: self.is_over(run_id), timeout=PATIENCE, interval=0.05):
            raise SystemExit(f"{run_id} did not end within {PATIENCE:g} seconds")

    def is_over(self, run_id: str) -> bool:
        """Return whether the run has ended, in this process or another."""
        if self.driver == "worker":
            return run_id in self.over
        ended = sa.select(run_states.c.finished_at).where(run_states.c.run_id == run_id)
        with self.app.extensions["sqlalchemy"].engine.connect() as connection:
            return connection.scalar(ended) is not None

    @staticmethod
    def check(run: Run, width: int) -> None:
        """Refuse to tell numbers of something that did not happen."""
        done = [each for each in run.step_runs or () if each.status == "completed"]
        if (run.status, len(done)) != ("completed", width + 2):
            raise SystemExit(f"the run is {run.status} with {len(done)} of {width + 2} steps done")


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Give the URL of an empty database, and remove it afterwards."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="squidmesh-bench-") as folder:
            yield f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        return
    with postgres_server() as server:
        yield PostgresDatabases(server.url()).create()


def make_app(
    url: str, driver: str, broker_url: str | None = None
) -> tuple[Flask, SQLAlchemy, SquidMesh]:
    """Return an application on a database."""
    app = Flask("bench")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQUIDMESH_DISPATCH"] = "manual" if driver == "helper" else "celery"
    db = SQLAlchemy(app)
    if broker_url is not None:
        celery = Celery("bench", broker=broker_url, set_as_current=False)
        celery.conf.update(
            broker_connection_retry_on_startup=True,
            worker_hijack_root_logger=False,
            worker_prefetch_multiplier=1,
        )
        app.extensions["celery"] = celery
    squidmesh = SquidMesh(app, db=db)
    with app.app_context():
        sqlite.configure(db.engine)
    return app, db, squidmesh


def __getattr__(name: str) -> Any:
    """Give a worker process its Celery app: `celery -A benchmarks.fan_out:celery_app`."""
    if name != "celery_app":
        raise AttributeError(name)
    app, _, squidmesh = make_app(os.environ["DATABASE_URL"], "processes", os.environ["BROKER_URL"])
    for width in {WARM_UP, *json.loads(os.environ["SIZES"])}:
        squidmesh.register(fan_out(width))
    globals()["app"] = app  # workers find it by a weak reference
    return app.extensions["celery"]


@contextmanager
def open_bench(
    url: str, driver: str, *, workers: int = 1, sizes: Sequence[int] = ()
) -> Iterator[Bench]:
    """Open the context of an application on an empty database, with its workers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="squidmesh-bench-")))
        broker = Broker(folder) if driver == "processes" else None
        if broker is not None:
            stack.callback(broker.remove)
        app, db, squidmesh = make_app(url, driver, None if broker is None else broker.url)
        stack.enter_context(app.app_context())
        db.create_all()
        if driver == "worker":
            stack.enter_context(EmbeddedWorker(app))
        elif broker is not None:
            env = {"DATABASE_URL": url, "BROKER_URL": broker.url, "SIZES": json.dumps(list(sizes))}
            stack.enter_context(worker_processes(folder, workers, env))
        yield Bench(app, squidmesh, driver)
        db.session.remove()
        db.engine.dispose()


@contextmanager
def worker_processes(folder: Path, number: int, env: dict[str, str]) -> Iterator[None]:
    """Keep that many workers of one child each."""
    processes = Processes(folder, cwd=Path(__file__).parents[1])
    with ExitStack() as stack:
        for _ in range(number):
            worker = processes.start_worker(
                "benchmarks.fan_out:celery_app", "-O", "fair", concurrency=1, env=env
            )
            stack.callback(worker.kill9)
        yield


def table(results: Sequence[Measured]) -> Iterator[str]:
    """Yield the lines of a table for people."""
    head = ("branches", "declare s", "start s", "execute s", "inspect s", "ms/branch", "ratio")
    yield "  ".join(f"{each:>10}" for each in head)
    for each in results:
        yield "  ".join(
            f"{value:>10}"
            for value in (
                each.branches,
                *(f"{getattr(each, name):.3f}" for name in head_fields()),
                f"{each.per_branch:.3f}",
                f"{each.per_branch / results[0].per_branch:.2f}",
            )
        )


def head_fields() -> tuple[str, ...]:
    """Return the names of what is measured in seconds."""
    return ("declare", "start", "execute", "inspect")


def document(options: argparse.Namespace, results: Sequence[Measured]) -> dict[str, Any]:
    """Return the same for programs."""
    first = results[0].per_branch
    return {
        "benchmark": "fan_out",
        "database": options.database,
        "driver": options.driver,
        "workers": options.workers,
        "results": [
            {
                **asdict(each),
                "ms_per_branch": each.per_branch,
                "ratio_to_smallest": each.per_branch / first,
            }
            for each in results
        ],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each size, and print what it took."""
    parser = argparse.ArgumentParser(prog="benchmarks.fan_out", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--driver", choices=("helper", "worker", "processes"), default="helper")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args(arguments)
    os.environ.setdefault(MARK, str(os.getpid()))
    with ExitStack() as stack:
        url = stack.enter_context(database(options.database))
        bench = stack.enter_context(
            open_bench(url, options.driver, workers=options.workers, sizes=options.sizes)
        )
        bench.measure(WARM_UP)
        rounds = [[bench.measure(width) for width in options.sizes] for _ in range(options.repeat)]
    results = [min(same, key=lambda each: each.per_branch) for same in zip(*rounds, strict=True)]
    lines = [*table(results), json.dumps(document(options, results))]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""This library, as an application uses it: PostgreSQL, and Celery over Valkey."""

from __future__ import annotations

from benchmarks.contestants.contestant import InPostgres
from benchmarks.host import Host, worker
from benchmarks.servers import Servers
from benchmarks.work import OURS, PAYLOAD
from tests.support.process import Process


class SquidMeshRuns(InPostgres):
    """Runs of a transition workflow."""

    name = OURS
    pool = "prefork"
    concurrency = 1
    distributions = ("celery", "Flask", "Flask-SQLAlchemy", "psycopg", "SQLAlchemy")
    finished_steps = "SELECT count(*) FROM squidmesh_step_runs"
    cleared = ("squidmesh_runs",)

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        self.host = Host(self.url, servers.broker.url, "straight")

    def create(self) -> None:
        with Host(self.url, self.servers.broker.url) as host:
            host.create_tables()

    def enqueue(self, runs: int) -> None:
        with self.host as host:
            for _ in range(runs):
                host.squidmesh.start_run("straight", PAYLOAD)

    def start_worker(self, number: int, of: int) -> Process:
        return worker(
            self.servers,
            self.url,
            "straight",
            number=number,
            pool=self.pool,
            concurrency=self.concurrency,
        )

    def reset(self) -> None:
        super().reset()
        self.servers.broker.flush()

    def close(self) -> None:
        super().close()
        self.host.close()


class SquidMeshSolo(SquidMeshRuns):
    """The same without a pool: the process that takes messages executes them itself."""

    name = f"{OURS}, solo pool"
    pool = "solo"


class SquidMeshThreads(SquidMeshRuns):
    """Two threads in one process: what one waits for, the other uses."""

    name = f"{OURS}, two threads"
    pool = "threads"
    concurrency = 2

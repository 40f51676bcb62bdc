"""DBOS Transact, on a database of its own on the same server.

python -m benchmarks.contestants.dbos NUMBER    # a worker
python -m benchmarks.contestants.dbos create    # its tables and its queue
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.contestants.contestant import InPostgres
from benchmarks.servers import Servers
from benchmarks.work import PAYLOAD, RESULT, STEPS
from tests.support.process import Process

QUEUE: Final = "bench"
VERSION: Final = "1"
CONCURRENCY: Final = 50
POLLING: Final = 0.1
"""Workflows that a process executes side by side, in threads, and the seconds between two looks
at its queue: what gave the most steps per second of the combinations tried. With the default of
one second a process is idle most of the time."""


class DBOS(InPostgres):
    """One workflow per run, on a queue that worker processes listen to."""

    name = "dbos"
    distributions = ("dbos", "psycopg", "SQLAlchemy")
    finished_steps = "SELECT count(*) FROM dbos.operation_outputs"
    cleared = ("dbos.workflow_status", "dbos.operation_outputs")

    def __init__(self, servers: Servers) -> None:
        from dbos import DBOSClient  # noqa: PLC0415  # a peer need not be installed

        super().__init__(servers)
        self.client: Any = DBOSClient(system_database_url=self.url)

    def create(self) -> None:
        self.servers.end(self._start("create"))

    def enqueue(self, runs: int) -> None:
        options = {"workflow_name": "straight", "queue_name": QUEUE, "app_version": VERSION}
        for _ in range(runs):
            self.client.enqueue(options, dict(PAYLOAD))

    def start_worker(self, number: int, of: int) -> Process:
        return self._start(str(number))

    def _start(self, role: str) -> Process:
        return self.servers.start(
            *("-m", "benchmarks.contestants.dbos", role),
            ready="^ready",
            env={"DATABASE_URL": self.url},
        )

    def close(self) -> None:
        super().close()
        self.client.destroy()


def main(arguments: Sequence[str]) -> None:
    """Be a worker, or create what workers need."""
    import dbos  # noqa: PLC0415

    role = arguments[0]
    dbos.DBOS(
        config={
            "name": "bench",
            "system_database_url": os.environ["DATABASE_URL"],
            "application_version": VERSION,
            "executor_id": role,
            "log_level": "WARNING",
        }
    )

    step = dbos.DBOS.step(name="step")(lambda: RESULT)

    def straight(_: dict[str, str]) -> None:
        for _name in STEPS:
            step()

    dbos.DBOS.workflow(name="straight")(straight)
    if role == "create":
        dbos.DBOS.listen_queues([])
    dbos.DBOS.launch()
    dbos.DBOS.register_queue(
        QUEUE,
        worker_concurrency=CONCURRENCY,
        polling_interval_sec=POLLING,
        on_conflict="always_update",
    )
    sys.stdout.write("ready\n")
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])

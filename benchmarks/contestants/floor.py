"""The floor: one connection, one statement and one commit per step, and nothing else.

A step is one guarded statement of psycopg, prepared by it, on one connection in
autocommit mode: it moves the run on, if the run stands where it is expected to,
and stores what the step returned. There is no queue, no claim, no lease, no
history and no framework: nothing durable in Python can be faster on one
connection.

    python -m benchmarks.contestants.floor NUMBER OF    # worker NUMBER of OF
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import psycopg

from benchmarks.contestants.contestant import InPostgres
from benchmarks.servers import plain
from benchmarks.work import PAYLOAD, RESULT, STEPS
from flask_squidmesh.clock import pause
from tests.support.process import Process

TABLE: Final = """
CREATE TABLE runs (
    id bigint PRIMARY KEY, payload text NOT NULL, step int NOT NULL DEFAULT 0, result text
)
"""
START: Final = "INSERT INTO runs (id, payload) VALUES (%s, %s)"
STEP: Final = "UPDATE runs SET step = step + 1, result = %s WHERE id = %s AND step = %s"
IDLE: Final = 0.01
MINE: Final = "SELECT id FROM runs WHERE step = 0 AND id %% %s = %s ORDER BY id"


class Floor(InPostgres):
    """psycopg, with the minimum of one commit per step."""

    name = "floor"
    distributions = ("psycopg",)
    finished_steps = "SELECT coalesce(sum(step), 0) FROM runs"
    cleared = ("runs",)

    _started = 0

    def create(self) -> None:
        with psycopg.connect(plain(self.url)) as connection:
            connection.execute(TABLE)

    def enqueue(self, runs: int) -> None:
        document = json.dumps(PAYLOAD)
        for number in range(self._started, self._started + runs):
            self.connection.execute(START, (number, document))
        self._started += runs

    def reset(self) -> None:
        super().reset()
        self._started = 0

    def start_worker(self, number: int, of: int) -> Process:
        which = (str(number), str(of))
        env = {"DATABASE_URL": plain(self.url)}
        return self.servers.start(
            "-m", "benchmarks.contestants.floor", *which, ready="^ready", env=env
        )


def work(number: int, of: int) -> NoReturn:
    """Execute the runs that are this worker's, until it is killed."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        sys.stdout.write("ready\n")
        result = json.dumps(RESULT)
        while True:
            mine = connection.execute(MINE, (of, number)).fetchall()
            for (run,) in mine:
                for step in range(len(STEPS)):
                    if connection.execute(STEP, (result, run, step)).rowcount != 1:
                        raise RuntimeError(f"run {run} is not at step {step}")
            if not mine:
                pause(IDLE)


def main(arguments: Sequence[str]) -> None:
    """Be a worker."""
    number, of = map(int, arguments)
    work(number, of)


if __name__ == "__main__":
    main(sys.argv[1:])

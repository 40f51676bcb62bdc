"""How many decisions one client can make per second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Final

from benchmarks.host import Host, worker
from benchmarks.report import Measure, Reading
from benchmarks.servers import servers
from benchmarks.wait import wait_for_runs


def take(*, full: bool) -> Iterator[Reading]:
    """Bring runs to their approval, approve them, and let a worker finish them."""
    runs, rounds = (1_000, 3) if full else (300, 2)
    decided, finished = [], []
    with servers() as started:
        url = started.database()
        with Host(url, started.broker.url, "approved") as host:
            host.create_tables()
            for number in range(1, rounds + 1):
                ids = [host.squidmesh.start_run("approved").id for _ in range(runs)]
                process = worker(started, url, "approved")
                wait_for_runs(host, "paused", runs)
                started.end(process)
                started.settle()
                began = time.perf_counter()
                for run_id in ids:
                    host.squidmesh.approve_run(run_id, actor="benchmark")
                decided.append(runs / (time.perf_counter() - began))
                process = worker(started, url, "approved")
                began = time.perf_counter()
                wait_for_runs(host, "completed", runs * number)
                finished.append(runs / (time.perf_counter() - began))
                started.end(process)
        host.close()
    yield Reading("approve_run", statistics.median(decided), "decisions/s")
    yield Reading(
        "finished by one worker process afterwards", statistics.median(finished), "runs/s"
    )


MEASURES: Final = (
    Measure(
        name="approvals",
        question="approvals by one client, each with its commit and its message",
        take=take,
        no_bar="no figure was asked for; a decision is made by a person",
    ),
)

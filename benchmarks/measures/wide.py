"""What a fan-out with a join costs, however many branches it has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Final

from benchmarks.host import Host, worker
from benchmarks.report import Bar, Measure, Reading
from benchmarks.servers import servers
from benchmarks.wait import wait_for_runs

LARGEST: Final = 10_000
SMALLEST: Final = 100
WARM_UP: Final = 10
REPEATED: Final = {SMALLEST: 5, 1_000: 3, LARGEST: 2}
QUICK: Final = {SMALLEST: 3, 1_000: 1}


def _looks_every(size: int) -> float:
    """Return the seconds between two looks: often enough for the figure, seldom for the machine."""
    return max(0.005, size / 200_000)


def take(*, full: bool) -> Iterator[Reading]:
    """Execute fan-outs of every size in one worker process, from the call of `start_run`."""
    sizes = REPEATED if full else QUICK
    names = [f"fan_out:{size}" for size in (WARM_UP, *sizes)]
    took: dict[int, float] = {}
    with servers() as started:
        url = started.database()
        with Host(url, started.broker.url, *names) as host:
            host.create_tables()
            worker(started, url, *names)
            finished = 0
            for size, count in {WARM_UP: 1, **sizes}.items():
                values = []
                for _ in range(count):
                    finished += 1
                    began = time.perf_counter()
                    host.squidmesh.start_run(f"fan_out{size}")
                    wait_for_runs(host, "completed", finished, interval=_looks_every(size))
                    values.append(time.perf_counter() - began)
                took[size] = statistics.median(values)
        host.close()
    for size in sizes:
        yield Reading(f"{size:,} branches", took[size], "s")
        yield Reading(f"{size:,} branches, each", took[size] / size * 1000, "ms")
        if size != SMALLEST:
            quotient = took[size] / size / (took[SMALLEST] / SMALLEST)
            yield Reading(f"a branch of {size:,} / of {SMALLEST}", quotient, "x")


MEASURES: Final = (
    Measure(
        name="fan-out",
        question="one root, that many branches, one join, in one worker process",
        take=take,
        bars={
            f"{LARGEST:,} branches": Bar(at_most=10),
            f"a branch of {LARGEST:,} / of {SMALLEST}": Bar(at_most=1.5),
        },
        only_full=frozenset((f"{LARGEST:,} branches", f"a branch of {LARGEST:,} / of {SMALLEST}")),
    ),
)

"""How many runs can be started per second, by one client, while nobody takes work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.contest import entered
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.squidmesh import SquidMeshRuns
from benchmarks.report import Measure, Reading, ratio
from benchmarks.servers import servers
from benchmarks.work import OURS, PAYLOAD

PER_COMMIT: Final = 100


def take(*, full: bool) -> Iterator[Reading]:
    """Start runs in every way, one way after the other, round after round."""
    runs, rounds = (1000, 5) if full else (300, 2)
    rates: dict[str, list[float]] = {}
    with servers() as started, entered(started) as contestants:
        ways = [way for each in contestants for way in _ways(each)]
        for _ in range(rounds):
            for name, contestant, enqueue in ways:
                contestant.reset()
                started.settle()
                began = time.perf_counter()
                enqueue(runs)
                took = time.perf_counter() - began
                rates.setdefault(name, []).append(runs / took)
    for name, values in rates.items():
        yield Reading(name, statistics.median(values), "runs/s")
    for name, values in rates.items():
        if not name.startswith(OURS):
            yield Reading(f"{OURS} / {name}", ratio(rates[OURS], values), "x")


Way = tuple[str, Contestant, Callable[[int], None]]


def _ways(contestant: Contestant) -> Iterator[Way]:
    yield contestant.name, contestant, contestant.enqueue
    if isinstance(contestant, SquidMeshRuns):
        for name, size in (("committed each", 1), (f"{PER_COMMIT} per commit", PER_COMMIT)):
            yield f"{OURS}, session=, {name}", contestant, _in_sessions(contestant, size)


def _in_sessions(contestant: SquidMeshRuns, size: int) -> Callable[[int], None]:
    def enqueue(runs: int) -> None:
        with contestant.host as host:
            session = host.db.session
            for number in range(1, runs + 1):
                host.squidmesh.start_run("straight", dict(PAYLOAD), session=session)
                if number % size == 0 or number == runs:
                    session.commit()

    return enqueue


MEASURES: Final = (
    Measure(
        name="starts",
        question="runs started per second by one client, each with its message",
        take=take,
        no_bar="no figure was asked for; it is here to be seen beside the peers",
    ),
)

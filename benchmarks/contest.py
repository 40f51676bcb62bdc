"""Contestants take turns at the same work, round after round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.contestants.absurd import Absurd
from benchmarks.contestants.celery_chain import CeleryChain, CeleryChainSolo
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.dbos import DBOS
from benchmarks.contestants.floor import Floor
from benchmarks.contestants.squidmesh import SquidMeshRuns, SquidMeshSolo, SquidMeshThreads
from benchmarks.servers import Servers
from benchmarks.work import STEPS
from flask_squidmesh.clock import wait_until

ENTERED: Final[tuple[type[Contestant], ...]] = (SquidMeshRuns, Floor, DBOS, Absurd, CeleryChain)
OTHER_POOLS: Final[tuple[type[Contestant], ...]] = (
    SquidMeshSolo,
    SquidMeshThreads,
    CeleryChainSolo,
)
PATIENCE: Final = 600.0
LOOKS_EVERY: Final = 0.05
WARM_AFTER: Final = 0.2
"""The share of the work after which a worker's connections and caches are no longer new."""


@dataclass(frozen=True)
class Turn:
    """How one contestant did in one round, in steps per second.

    Attributes:
        whole: From the moment its workers were let go until everything was done.
        steady: Without the first part, in which connections are opened and caches filled.
    """

    whole: float
    steady: float


@contextmanager
def entered(servers: Servers, *further: type[Contestant]) -> Iterator[list[Contestant]]:
    """Give the contestants whose packages are installed, ours first and *further* ones last."""
    with ExitStack() as stack:
        contestants = []
        for kind in (*ENTERED, *further):
            if kind.versions() is None:
                continue
            contestants.append(kind(servers))
            stack.callback(contestants[-1].close)
        yield contestants


def in_turns(
    contestants: Sequence[Contestant], rounds: int, play: Callable[[Contestant], Turn]
) -> dict[str, list[Turn]]:
    """Let each *play* once per round; who begins changes from round to round."""
    turns: dict[str, list[Turn]] = {each.name: [] for each in contestants}
    for number in range(rounds):
        first = number % len(contestants)
        for each in (*contestants[first:], *contestants[:first]):
            turns[each.name].append(play(each))
    return turns


def race(contestant: Contestant, runs: int, workers: int) -> Turn:
    """Have *runs* straight runs executed, all of them enqueued before any worker takes one.

    The workers are ready, and are held by a signal until everything is there.
    """
    contestant.reset()
    contestant.start_workers(workers)
    contestant.enqueue(runs)
    contestant.servers.settle()
    contestant.release_workers()
    turn = watch(contestant, runs * len(STEPS))
    contestant.stop_workers()
    return turn


def watch(contestant: Contestant, total: int) -> Turn:
    """Wait until *total* steps are done, and return how fast they were."""
    began = time.perf_counter()
    marks = []

    def is_over() -> bool:
        marks.append((contestant.steps_done(), time.perf_counter() - began))
        return marks[-1][0] >= total

    if not wait_until(is_over, timeout=PATIENCE, interval=LOOKS_EVERY):
        raise RuntimeError(f"{contestant.name}: {marks[-1][0]} of {total} steps were done")
    warm = next(mark for mark in marks if mark[0] >= total * WARM_AFTER or mark is marks[-1])
    done, seconds = marks[-1]
    whole = done / seconds
    since = seconds - warm[1]
    return Turn(whole, (done - warm[0]) / since if since else whole)

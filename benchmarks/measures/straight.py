"""Straight runs of five steps, in one worker process and in two."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Final

from benchmarks.contest import OTHER_POOLS, Turn, entered, in_turns, race
from benchmarks.contestants.contestant import Contestant
from benchmarks.report import Bar, Measure, Reading, ratio
from benchmarks.servers import servers
from benchmarks.work import OURS

UNIT: Final = "steps/s"


def take(workers: int, *further: type[Contestant], runs: int, rounds: int) -> Iterator[Reading]:
    """Race all contestants, with that many worker processes each."""
    with servers() as started, entered(started, *further) as contestants:
        turns = in_turns(contestants, rounds, lambda each: race(each, runs, workers))
    for name, played in turns.items():
        yield Reading(name, statistics.median(turn.whole for turn in played), UNIT)
    for name, played in turns.items():
        steady = statistics.median(turn.steady for turn in played)
        yield Reading(f"{name}, steady state", steady, UNIT)
    yield from _ratios(turns)


def _ratios(turns: dict[str, list[Turn]]) -> Iterator[Reading]:
    ours = [turn.whole for turn in turns[OURS]]
    for name, played in turns.items():
        if name != OURS:
            yield Reading(f"{OURS} / {name}", ratio(ours, [turn.whole for turn in played]), "x")


def one(*, full: bool) -> Iterator[Reading]:
    """One worker process each."""
    return take(1, *OTHER_POOLS, runs=1000, rounds=3) if full else take(1, runs=250, rounds=2)


def two(*, full: bool) -> Iterator[Reading]:
    """Two worker processes each."""
    return take(2, runs=1000, rounds=2) if full else take(2, runs=250, rounds=1)


MEASURES: Final = (
    Measure(
        name="straight-1",
        question="5-step runs, all enqueued, then executed by one worker process",
        take=one,
        bars={
            f"{OURS} / floor": Bar(at_least=0.5),
            f"{OURS} / dbos": Bar(at_least=5),
            f"{OURS} / absurd": Bar(at_least=1.5),
            f"{OURS} / celery chain": Bar(at_least=1),
        },
    ),
    Measure(
        name="straight-2",
        question="the same with two worker processes",
        take=two,
        no_bar="the bars are those of one process; this shows what a second one adds",
    ),
)

"""What does a history of a million finished runs cost those who read, and those who work?

    python -m benchmarks.million [--quick] [--json FILE]

Fills one database of a temporary PostgreSQL with `benchmarks.history` and
leaves another one empty. Everything is asked of the full one; what is expected
to cost the same in both is done in both in turns.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from benchmarks import alone, history
from benchmarks.report import Bar, Measure, Reading, percentile, ratio
from benchmarks.solo import FiveSteps, Solo, solo
from flask_squidmesh.clock import Clock
from flask_squidmesh.dispatch.ticker import LIMIT
from tests.support.postgres import postgres_server

WORKFLOWS: Final = (FiveSteps, *history.WORKFLOWS)
FILTERS: Final[tuple[Mapping[str, Any], ...]] = tuple(
    {
        name: value
        for name, value in zip(("workflow", "status", "trigger"), values, strict=True)
        if value is not None
    }
    for values in itertools.product(
        # Frequent, rare, and not there at all; together with the others, too.
        (None, "order_fulfilment", "hourly_digest", "account_closure", "nobody"),
        (None, "completed", "failed", "cancelled", "paused"),
        (None, "shop", "upload", "hourly", "support"),
    )
)


def milliseconds(call: Callable[[], Any], times: int) -> list[float]:
    """Return how long each of so many calls took, after one that warms everything up."""
    call()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return took


def pages(here: Solo, *, times: int) -> Iterator[Reading]:
    """Turn pages with every combination of filters."""
    listed = here.squidmesh.list_runs
    deep = None
    for _ in range(20):
        deep = listed(limit=500, after=deep).next
    took: dict[tuple[str, int], list[float]] = {}
    statements = 0
    # In turns, so that what disturbs the machine for a while is not held against one filter.
    for turn in range(times + 1):
        for number, filters in enumerate(FILTERS):
            for place, after in (("first", None), ("following", deep)):
                before = here.statements
                began = time.perf_counter()
                listed(**filters, after=after)
                seconds = time.perf_counter() - began
                if turn:
                    took.setdefault((place, number), []).append(seconds * 1000)
                    statements = max(statements, here.statements - before)
    for place in ("first", "following"):
        each = [took[place, number] for number in range(len(FILTERS))]
        every = [one for values in each for one in values]
        yield Reading(f"{place} page, all filters, p95", percentile(every, 95), "ms")
        slowest = max(percentile(values, 95) for values in each)
        yield Reading(f"{place} page, slowest filter, p95", slowest, "ms")
        median, number = max((statistics.median(v), n) for n, v in enumerate(each))
        name = ", ".join(f"{key} {value}" for key, value in FILTERS[number].items()) or "none"
        yield Reading(f"{place} page, slowest filter ({name}), p50", median, "ms")
    yield Reading("statements of a page, at most", statements, "")


ASKED: Final[Mapping[str, Callable[[Solo, str], object]]] = {
    "inspect_run": lambda h, run: h.squidmesh.inspect_run(run),
    "inspect_run with history": lambda h, run: h.squidmesh.inspect_run(run, include_history=True),
    "explain_run": lambda h, run: h.squidmesh.explain_run(run),
    "runs by the prefix of an id": lambda h, run: h.engine.list_runs_by_prefix(run[:18], limit=2),
    "survey of what waits": lambda h, _: h.engine.look_at_work(),
    "ticker round with nothing due": lambda h, _: h.engine.tick(limit=LIMIT),
}


def reads(full: Solo, empty: Solo, *, times: int) -> Iterator[Reading]:
    """Look at single runs, and at what waits, in both databases."""
    both = [(here, [here.run(FiveSteps) for _ in range(5)][-1]) for here in (full, empty)]
    for name, ask in ASKED.items():
        took: tuple[list[float], list[float]] = ([], [])
        for _ in range(times):
            for values, (here, run_id) in zip(took, both, strict=True):
                with here.app.app_context():
                    # In turns, each after a call that warms everything up.
                    values.extend(milliseconds(partial(ask, here, run_id), 1))
        slower = statistics.median(took[0]) / statistics.median(took[1])
        yield Reading(f"{name}, p95", percentile(took[0], 95), "ms")
        yield Reading(f"{name}, full against empty", slower, "x")
    with full.app.app_context():
        before = full.statements
        full.engine.tick(limit=LIMIT)
    yield Reading("statements of a round with nothing due", full.statements - before, "")


def work(full: Solo, empty: Solo, *, rounds: int, runs_of_a_round: int) -> Iterator[Reading]:
    """Execute straight runs in both databases, in turns."""
    speeds: dict[int, list[float]] = {id(full): [], id(empty): []}
    for number in range(rounds + 1):
        # Who comes second finds the machine warm.
        turns = (full, empty) if number % 2 else (empty, full)
        for here in turns:
            began = time.perf_counter()
            for _ in range(runs_of_a_round):
                here.run(FiveSteps)
            if number:
                speeds[id(here)].append(runs_of_a_round * 5 / (time.perf_counter() - began))
    yield Reading("throughput, full against empty", ratio(speeds[id(full)], speeds[id(empty)]), "x")
    yield Reading("steps with a full history", statistics.median(speeds[id(full)]), "1/s")


def take(*, full: bool) -> Iterator[Reading]:
    """Fill a database, and ask it and an empty one."""
    count, times, rounds = (1_000_000, 40, 10) if full else (50_000, 15, 5)
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        filled = stack.enter_context(solo(server.url(), WORKFLOWS))
        with filled.database.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(sa.text("CREATE DATABASE other"))
            empty = stack.enter_context(solo(server.url("other"), WORKFLOWS))
            began = time.perf_counter()
            history.seed(filled.database, runs=count, until=Clock().now)
            yield Reading("finished runs", count, "")
            yield Reading("time to fill the database", time.perf_counter() - began, "s")
            connection.execute(sa.text("CHECKPOINT"))
        with filled.app.app_context():
            yield from pages(filled, times=times)
        yield from reads(filled, empty, times=times)
        yield from work(filled, empty, rounds=rounds, runs_of_a_round=100)


MEASURES: Final = (
    Measure(
        name="million",
        question="reading and working with a million finished runs",
        take=take,
        bars={
            "first page, slowest filter, p95": Bar(at_most=10),
            "following page, slowest filter, p95": Bar(at_most=10),
            "throughput, full against empty": Bar(at_least=0.9),
            "statements of a round with nothing due": Bar(at_most=1),
        },
    ),
)

if __name__ == "__main__":
    alone.take(MEASURES, sys.argv[1:], about=__doc__)

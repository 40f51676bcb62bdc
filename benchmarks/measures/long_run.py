"""Does a step at the end of a long run cost more than one at its beginning?"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from benchmarks.host import Host, worker
from benchmarks.report import Bar, Measure, Reading
from benchmarks.servers import servers
from benchmarks.wait import wait_for_runs
from benchmarks.work import PAYLOAD
from flask_squidmesh import Run

STEPS: Final = 1_000
SPAN: Final = 100
WORKFLOW: Final = f"long:{STEPS}"


def take(*, full: bool) -> Iterator[Reading]:
    """Execute runs of 1,000 steps, and compare the ends of their history."""
    # A hundred steps take less than a tenth of a second, in which much else can happen.
    rounds = 21 if full else 5
    with servers() as started:
        url = started.database()
        with Host(url, started.broker.url, WORKFLOW) as host:
            host.create_tables()
            worker(started, url, WORKFLOW)
            runs = []
            for number in range(1, rounds + 2):
                run = host.squidmesh.start_run("long", dict(PAYLOAD))
                wait_for_runs(host, "completed", number)
                runs.append(host.squidmesh.inspect_run(run.id, include_history=True))
        host.close()
    # The first has opened connections and read the definition.
    ends = [_ends(run) for run in runs[1:]]
    first, last = (statistics.median(each) for each in zip(*ends, strict=True))
    yield Reading(f"first {SPAN} steps, each", first / SPAN * 1000, "ms")
    yield Reading(f"last {SPAN} steps, each", last / SPAN * 1000, "ms")
    quotient = statistics.median(late / early for early, late in ends)
    yield Reading(f"last {SPAN} / first {SPAN}", quotient, "x")


def _ends(run: Run) -> tuple[float, float]:
    """Return the seconds that the first and the last steps took, by the database's clock."""
    times = list(_finished(run))
    return _span(times[: SPAN + 1]), _span(times[-SPAN - 1 :])


def _finished(run: Run) -> Iterator[datetime]:
    for step_run in run.step_runs or ():
        ended = step_run.attempts[-1].finished_at
        if ended is None:
            raise RuntimeError(f"{step_run.step} has no end")
        yield ended


def _span(times: Sequence[datetime]) -> float:
    return (times[-1] - times[0]).total_seconds()


MEASURES: Final = (
    Measure(
        name="long-run",
        question="a run of 1,000 steps in one worker process: its last 100 against its first 100",
        take=take,
        bars={f"last {SPAN} / first {SPAN}": Bar(at_most=1.2)},
    ),
)

"""`flask soak`: does everything still work with everybody at once?"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import click
from flask.cli import ScriptInfo

from flask_squidmesh import Clock
from minimal_host_app.commands.audit import audit
from minimal_host_app.commands.client import Document
from minimal_host_app.commands.report import Case, Report
from minimal_host_app.commands.stack import Stack, running_stack, who_works, working
from minimal_host_app.commands.stories import STORIES, Story

# Each client asks this often how far its run is; there are many of them.
INTERVAL = 0.2
RANKS = {"p50": 0.5, "p95": 0.95, "max": 1.0}

Figures = dict[str, dict[str, Any]]


@click.command("soak")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long new stories begin.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    help="Begin no more stories than this; whichever comes first.",
)
@click.option(
    "--clients", type=click.IntRange(min=1), default=16, show_default=True, help="At the same time."
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Worker processes to start when there is a broker; 0: use those that run already.",
)
@click.option(
    "--timeout", default=60.0, show_default=True, help="Seconds a run may take to get somewhere."
)
@click.option("--seed", type=int, help="Choose the same stories again.")
@click.option("--json", "as_json", is_flag=True, help="Print a document for programs.")
@click.pass_obj
def soak(
    script: ScriptInfo,
    *,
    seconds: float,
    runs: int | None,
    clients: int,
    workers: int,
    timeout: float,
    seed: int | None,
    as_json: bool,
) -> None:
    """Play the stories of `flask smoke` at random, many at the same time, then audit everything.

    Prints how many runs of each workflow ended how, and the seconds they took
    from start to end; timers and people's decisions are part of that.

    Without configuration this uses a temporary SQLite database and a worker in
    this process. HOST_APP_DATABASE_URL and HOST_APP_BROKER_URL choose others;
    accounts, invoices and runs are added to that database and stay there.

    Exits with 0 only if every check has passed.
    """
    report = Report("soak", as_json=as_json)
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    with running_stack(script, gateway_failures=1) as stack:
        uses = stack.describe(who_works(stack, workers=workers))
        report.uses({**uses, "clients": clients, "seed": seed})
        with working(stack, workers=workers):
            crowd = Crowd(stack, seed=seed, timeout=timeout)
            with Case("all workflows", "everybody at once") as together:
                cases = crowd.play(clients, seconds=seconds, runs=runs)
                together.did(f"played {len(cases)} stories, {clients} at a time")
                together.expect("stories played at all", bool(cases), True)
                wrong = sum(not case.passed for case in cases)
                together.expect("stories that did not end as told", wrong, 0)
        report.add(together)
        for case in cases:
            if not case.passed:
                report.add(case)
        audited, found = audit(stack, [run_id for case in cases for run_id in case.run_ids])
        report.add(audited)
        report.figures["workflows"] = figures = summed_up(found)
        show(report, figures)
        code = report.close(stack.logs())
    click.get_current_context().exit(code)


class Crowd:
    """Clients that play one story after the other, until time or stories are used up."""

    def __init__(self, stack: Stack, *, seed: int, timeout: float) -> None:
        self._stack = stack
        self._timeout = timeout
        self._stories = _shuffled(seed)
        self._turn = threading.Lock()
        self._clock = Clock()

    def play(self, clients: int, *, seconds: float, runs: int | None) -> list[Case]:
        self._end = self._clock.monotonic() + seconds
        self._left = math.inf if runs is None else runs
        with ThreadPoolExecutor(clients) as pool:
            playing = [pool.submit(self._client) for _ in range(clients)]
            try:
                return [case for client in playing for case in client.result()]
            finally:
                self._stack.stopping.set()

    def _client(self) -> list[Case]:
        cases: list[Case] = []
        while (story := self._next()) is not None:
            cases.append(story.told(self._stack, timeout=self._timeout, interval=INTERVAL))
        return cases

    def _next(self) -> Story | None:
        with self._turn:
            is_over = self._left <= 0 or self._clock.monotonic() >= self._end
            self._left -= 1
            return None if is_over or self._stack.stopping.is_set() else next(self._stories)


def _shuffled(seed: int) -> Iterator[Story]:
    """Give all stories in random order, again and again."""
    chance = random.Random(seed)  # noqa: S311  # chooses stories, keeps no secret
    while True:
        yield from chance.sample(STORIES, len(STORIES))


def summed_up(runs: Sequence[Document]) -> Figures:
    """Return, by workflow, how many runs have which status, and their durations in seconds."""
    statuses: dict[str, Counter[str]] = defaultdict(Counter)
    durations: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        statuses[run["workflow"]][run["status"]] += 1
        if run["finished_at"] is not None:
            begun, ended = (
                datetime.fromisoformat(run[each]) for each in ("created_at", "finished_at")
            )
            durations[run["workflow"]].append((ended - begun).total_seconds())
    return {
        workflow: {
            "statuses": dict(counted),
            **{name: _rank(durations[workflow], share) for name, share in RANKS.items()},
        }
        for workflow, counted in sorted(statuses.items())
    }


def _rank(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that *share* of all are not above."""
    at = math.ceil(share * len(values)) - 1
    return round(sorted(values)[at], 3) if values else None


def show(report: Report, figures: Figures) -> None:
    report.line()
    heads = "".join(f"{head:>9}" for head in RANKS)
    report.line(f"  {'workflow':<22}{heads}  runs", "heading")
    for workflow, figure in figures.items():
        seconds = "".join(
            "        -" if figure[rank] is None else f"{figure[rank]:>7.2f} s" for rank in RANKS
        )
        counts = ", ".join(f"{count} {status}" for status, count in figure["statuses"].items())
        report.line(f"  {workflow:<22}{seconds}  {counts}")

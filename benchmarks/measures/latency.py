"""How long after `start_run` the step begins, while the system is idle.

Beside it a bare hop: one commit by the client, one Celery message over the same
Valkey, one commit by the worker. Both workers wait side by side, and get their
turns alternately.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Final

import redis

from benchmarks.hop import Hop
from benchmarks.host import PROBE, Host, worker
from benchmarks.report import Bar, Measure, Reading, percentile
from benchmarks.servers import Servers, servers
from flask_squidmesh.clock import wait_until

WARM_UP: Final = 20
REST: Final = 0.02
PATIENCE: Final = 30


def take(*, full: bool) -> Iterator[Reading]:
    """Probe both, alternately."""
    probes = 500 if full else 100
    with servers() as started, ExitStack() as stack:
        start_run = stack.enter_context(_squidmesh(started))
        hop = stack.enter_context(closing(Hop(started)))
        client = stack.enter_context(redis.Redis.from_url(started.broker.url))
        ways: dict[str, Callable[[], object]] = {"start_run": start_run, "hop": hop.send}
        took: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(WARM_UP + probes):
            for name, send in ways.items():
                seconds = _probe(client, send)
                if number >= WARM_UP:
                    took[name].append(seconds * 1000)
    for name, what in (("start_run", "start_run to step body"), ("hop", "bare hop")):
        for percent in (50, 95):
            yield Reading(f"{what}, p{percent}", percentile(took[name], percent), "ms")
    halves = [percentile(took[name], 50) for name in ("start_run", "hop")]
    yield Reading("start_run / bare hop, p50", halves[0] / halves[1], "x")


def _probe(client: redis.Redis, send: Callable[[], object]) -> float:
    wait_until(lambda: False, timeout=REST)
    began = time.perf_counter()
    send()
    told: Any = client.blpop([PROBE], timeout=PATIENCE)
    if told is None:
        raise RuntimeError(f"no step began within {PATIENCE} seconds")
    return float(told[1]) - began


@contextmanager
def _squidmesh(servers: Servers) -> Iterator[Callable[[], object]]:
    """Start a worker, and give the call that starts a run."""
    url = servers.database()
    with Host(url, servers.broker.url, "probe") as host:
        host.create_tables()
        process = worker(servers, url, "probe")
        yield lambda: host.squidmesh.start_run("probe")
        servers.end(process)
    host.close()


MEASURES: Final = (
    Measure(
        name="latency",
        question="from the call of `start_run` to the body of the first step, in an idle system",
        take=take,
        bars={
            "start_run to step body, p50": Bar(at_most=10),
            "start_run / bare hop, p50": Bar(at_most=2),
        },
    ),
)

"""What a step takes of everything: statements, rows, log, and time of the processors.

Statements, rows and log do not depend on what else the machine does; they are
counted by the server. The times are those of the kernel for each process; on a
busy machine they are longer, but less so than what a clock says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import psutil
import psycopg

from benchmarks.contest import entered, watch
from benchmarks.contestants.contestant import Contestant, InPostgres
from benchmarks.report import Measure, Reading
from benchmarks.servers import plain, servers
from benchmarks.work import STEPS
from flask_squidmesh.clock import wait_until

WARM_UP: Final = 20
SERVER: Final = """
SELECT
    (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE dbid = any(%(of)s)) - %(asked)s,
    pg_current_wal_insert_lsn() - '0/0',
    (SELECT coalesce(sum(xact_commit), 0) FROM pg_stat_database WHERE datid = any(%(of)s))
        - %(asked)s,
    (SELECT coalesce(sum(tup_inserted + tup_updated + tup_deleted), 0)
       FROM pg_stat_database WHERE datid = any(%(of)s))
"""
DATABASE: Final = "SELECT oid FROM pg_database WHERE datname = %s"
BACKENDS: Final = """
SELECT pid FROM pg_stat_activity WHERE pid NOT IN (pg_backend_pid(), %(pid)s)
"""


COUNTED: Final = ("statements", "log", "commits", "rows")
"""What `SERVER` returns."""

LATE: Final = frozenset(("commits", "rows"))
"""What a session tells the server no sooner than ten seconds after its last transaction."""

TOLD_AFTER: Final = 11.0
UNITS: Final = {
    "statements": ("statements, with BEGIN and COMMIT", ""),
    "commits": ("transactions", ""),
    "rows": ("rows written", ""),
    "log": ("write-ahead log", "bytes"),
    "worker": ("processor time of the worker", "us"),
    "server": ("processor time of PostgreSQL", "us"),
}
"""What stands in the table for each of them, and for the times."""


def take(*, full: bool) -> Iterator[Reading]:
    """Let one after the other execute straight runs, and count what it has cost."""
    runs = 1000 if full else 200
    with servers() as started:
        started.count_statements()
        with entered(started) as contestants:
            opened: psycopg.Connection[Any] = psycopg.connect(
                plain(started.postgres.url()), autocommit=True
            )
            with closing(opened) as connection:
                for contestant in contestants:
                    for name, value in _cost(connection, contestant, runs, full=full):
                        what, unit = UNITS[name]
                        yield Reading(f"{contestant.name}: {what}", value, unit)


def _cost(
    connection: psycopg.Connection[Any], contestant: Contestant, runs: int, *, full: bool
) -> Iterator[tuple[str, float]]:
    contestant.reset()
    contestant.start_workers(1)
    contestant.enqueue(WARM_UP)
    contestant.release_workers()
    watch(contestant, WARM_UP * len(STEPS))
    contestant.hold_workers()
    contestant.enqueue(runs)
    before = _spent(connection, contestant, full=full)
    contestant.release_workers()
    watch(contestant, (WARM_UP + runs) * len(STEPS))
    contestant.hold_workers()
    after = _spent(connection, contestant, full=full)
    contestant.stop_workers()
    for name in UNITS:
        if full or name not in LATE:
            yield name, (after[name] - before[name]) / (runs * len(STEPS))


def _spent(
    connection: psycopg.Connection[Any], contestant: Contestant, *, full: bool
) -> dict[str, float]:
    """Return what its workers, which are held, and its databases have spent so far."""
    if full:
        wait_until(lambda: False, timeout=TOLD_AFTER)
    own = {"of": [], "asked": 0, "pid": 0}
    if isinstance(contestant, InPostgres):
        watching = contestant.connection.info
        found = connection.execute(DATABASE, [watching.dbname])
        own = {
            "of": [row[0] for row in found],
            "asked": contestant.asked,
            "pid": watching.backend_pid,
        }
    told = connection.execute(SERVER, own).fetchone() or ()
    backends = [row[0] for row in connection.execute(BACKENDS, own)]
    workers = [process.pid for each in contestant.workers for process in _family(each.pid)]
    return {
        **dict(zip(COUNTED, map(float, told), strict=True)),
        "worker": _microseconds(workers),
        "server": _microseconds(backends),
    }


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _microseconds(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue  # it has ended since, and was nobody's worker
        total += times.user + times.system
    return total * 1_000_000


MEASURES: Final = (
    Measure(
        name="cost",
        question="what one step of a straight run takes of everything, in one worker process",
        take=take,
        no_bar="it says where the time goes, which has no right or wrong",
    ),
)

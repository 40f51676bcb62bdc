"""What a worker asks the database while there is nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import psycopg

from benchmarks.host import Host, worker
from benchmarks.report import Bar, Measure, Reading
from benchmarks.servers import Servers, plain, servers
from benchmarks.wait import wait_for_runs
from benchmarks.work import PAYLOAD
from flask_squidmesh.clock import wait_until

SETTLES: Final = 3.0
PATIENCE: Final = 30.0
COUNT: Final = """
SELECT coalesce(sum(calls) FILTER (WHERE query !~* '^(begin|commit|rollback)'), 0), sum(calls)
FROM pg_stat_statements JOIN pg_database ON oid = dbid WHERE datname = %s
"""


def take(*, full: bool) -> Iterator[Reading]:
    """Let a worker that has worked do nothing, and count what the server is asked."""
    seconds = 60.0 if full else 10.0
    with servers() as started:
        started.count_statements()
        url = started.database()
        with Host(url, started.broker.url, "straight") as host:
            host.create_tables()
            worker(started, url, "straight")
            host.squidmesh.start_run("straight", dict(PAYLOAD))
            wait_for_runs(host, "completed", 1)
            host.db.engine.dispose()
            wait_until(lambda: False, timeout=SETTLES)
            queries, statements = _asked(started, url, seconds)
        host.close()
    yield Reading("queries of an idle worker", queries / seconds, "1/s")
    yield Reading("with BEGIN, COMMIT and ROLLBACK", statements / seconds, "1/s")


def _asked(servers: Servers, url: str, seconds: float) -> tuple[int, int]:
    """Return how many statements reach the database *url* within *seconds*: queries, and all."""
    opened: psycopg.Connection[Any] = psycopg.connect(
        plain(servers.postgres.url()), autocommit=True
    )
    name = psycopg.conninfo.conninfo_to_dict(plain(url))["dbname"]

    def asked() -> tuple[int, int]:
        row = connection.execute(COUNT, [name]).fetchone()
        return (int(row[0] or 0), int(row[1] or 0)) if row else (0, 0)

    with closing(opened) as connection:
        connection.execute("SELECT pg_stat_statements_reset()")
        # Right after a round: what comes once a second then comes as often as there are seconds.
        wait_until(lambda: asked() != (0, 0), timeout=PATIENCE)
        before = asked()
        wait_until(lambda: False, timeout=seconds)
        after = asked()
    return after[0] - before[0], after[1] - before[1]


MEASURES: Final = (
    Measure(
        name="idle",
        question="queries per second of an idle worker with its ticker",
        take=take,
        bars={"queries of an idle worker": Bar(at_most=1)},
    ),
)

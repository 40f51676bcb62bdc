"""Runs workflows while everything around them breaks, and audits what is left.

    python -m benchmarks.chaos --runs 5000 --seconds 600 --seed 7

Starts a PostgreSQL, a Valkey and Celery workers of its own. For at least
`--seconds`, and until `--runs` were started, clients start runs of every shape
while faults happen. Then the faults end, what is open is waited for, and the
database is audited. The exit code is 1 when anything is not as it must be.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import sqlalchemy as sa

from flask_squidmesh.clock import Clock, wait_until
from tests.support.databases import PostgresDatabases
from tests.support.postgres import PostgresServer
from tests.support.valkey import Broker

EVERY: Final = {
    "kill": 3.0,
    "freeze": 6.0,
    "flush": 8.0,
    "broker": 20.0,
    "database": 40.0,
    "messages": 2.0,
}
"""How many seconds apart the faults of each kind are, on average."""


@click.command(help=__doc__)
@click.option("--runs", default=5000, show_default=True, help="Start at least this many.")
@click.option("--seconds", default=600.0, show_default=True, help="Break things for this long.")
@click.option("--seed", default=1, show_default=True, help="Of traffic and faults.")
@click.option("--workers", default=4, show_default=True, help="Celery workers.")
@click.option("--clients", default=4, show_default=True, help="Threads that start runs.")
@click.option(
    "--faults",
    default=",".join(f"{kind}={every:g}" for kind, every in EVERY.items()),
    show_default=True,
    help="Kinds of faults, and how many seconds apart they are on average.",
)
@click.option("--patience", default=300.0, show_default=True, help="Seconds to wait for the end.")
@click.option("--json", "as_json", is_flag=True, help="Print one document for programs.")
def main(*, as_json: bool, **options: Any) -> None:
    """Run, and print what came of it."""
    click.echo(f"seed {options['seed']}", err=True)
    found = _Conductor(**options).conduct()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)
    is_right = found["finished"] and not found["lost"] and not found["violation count"]
    sys.exit(0 if is_right and found["ended as expected"] == found["runs"] else 1)


def _print(found: dict[str, Any], indent: str = "") -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            click.echo(f"{indent}{name}:")
            _print(value, indent + "    ")
        elif isinstance(value, list):
            click.echo(f"{indent}{name}: {len(value)}")
            for line in value:
                click.echo(f"{indent}    {line}")
        else:
            click.echo(f"{indent}{name}: {value}")


class _Conductor:
    """One performance, from the servers' start to the audit."""

    def __init__(
        self,
        *,
        runs: int,
        seconds: float,
        seed: int,
        workers: int,
        clients: int,
        faults: str,
        patience: float,
    ) -> None:
        self._runs = runs
        self._seconds = seconds
        self._seed = seed
        self._workers = workers
        self._clients = clients
        self._every = {
            kind: float(every)
            for kind, _, every in (each.partition("=") for each in faults.split(",") if each)
        }
        self._patience = patience
        self._clock = Clock()

    def conduct(self) -> dict[str, Any]:
        """Perform, and return the figures."""
        with ExitStack() as stack:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="squidmesh-chaos-"))
            )
            database_folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="squidmesh-postgres-")
            )
            database = PostgresServer(Path(database_folder))
            stack.callback(database.kill9)
            database.start()
            broker = Broker(folder / "valkey")
            stack.callback(broker.remove)
            os.environ["CHAOS_DATABASE_URL"] = PostgresDatabases(database.url()).create()
            os.environ["CHAOS_BROKER_URL"] = broker.url
            return self._conduct(stack, folder, broker, database)

    def _conduct(
        self, stack: ExitStack, folder: Path, broker: Broker, database: PostgresServer
    ) -> dict[str, Any]:
        # They read the environment, which is complete only now.
        from benchmarks.chaos import audit, host  # noqa: PLC0415
        from benchmarks.chaos.faults import Faults  # noqa: PLC0415
        from benchmarks.chaos.fleet import Fleet  # noqa: PLC0415
        from benchmarks.chaos.traffic import Traffic  # noqa: PLC0415

        # Refused calls are what this is about; they are counted.
        logging.getLogger("flask_squidmesh").setLevel(logging.ERROR)
        app, squidmesh, celery = host.create_app()
        with app.app_context():
            host.db.create_all()
        logs = folder / "logs"
        logs.mkdir()
        fleet = Fleet(logs, {}, size=self._workers)
        stack.callback(fleet.close)
        fleet.start()
        traffic = Traffic(
            app,
            squidmesh,
            seed=self._seed,
            clients=self._clients,
            runs=self._runs,
            seconds=self._seconds,
        )
        faults = Faults(
            fleet=fleet,
            broker=broker,
            database=database,
            celery=celery,
            accepted=traffic.accepted,
            every=self._every,
            seed=self._seed,
        )
        began = self._clock.monotonic()
        traffic.start()
        faults.start()
        wait_until(lambda: self._is_enough(began, traffic), timeout=self._patience + 3600)
        traffic.stop_starting()
        faults.stop()
        calm = self._clock.monotonic()
        engine = sa.create_engine(os.environ["CHAOS_DATABASE_URL"])

        def is_quiet() -> bool:
            with engine.connect() as connection:
                return not audit.active(connection)

        with engine.connect() as connection:
            open_then = sum(audit.active(connection).values())
        finished = wait_until(is_quiet, timeout=self._patience, interval=0.1)
        drained = self._clock.monotonic() - calm
        deaths = list(fleet.deaths)
        traffic.stop()
        fleet.kill_all()
        with engine.connect() as connection:
            found = {
                "seed": self._seed,
                "seconds": round(calm - began, 1),
                "finished": finished,
                "open when the faults ended": open_then,
                "seconds until all had ended": round(drained, 1),
                **audit.audit(connection, traffic.accepted),
                "faults": dict(faults.counts),
                "workers that ended by themselves": fleet.gave_up,
                "traffic": dict(traffic.counts),
                "longest start_run": round(traffic.longest_start, 2),
                "zombie writes refused": fleet.count_in_logs("what it did is not kept"),
                "takeover": audit.takeovers(connection, deaths, faults.outages),
            }
        engine.dispose()
        return found

    def _is_enough(self, began: float, traffic: Any) -> bool:
        is_long = self._clock.monotonic() - began >= self._seconds
        return is_long and len(traffic.accepted) >= self._runs


if __name__ == "__main__":
    main()

"""How long does the server take for each page of the dashboard, with a million runs?

    python -m benchmarks.dashboard [--runs 1000000] [--quick] [--json FILE]

Fills a temporary PostgreSQL with finished runs (`benchmarks.history`), adds runs
that are under way, wait for people, wait for timers or have failed, and asks for
every page again and again, in turn, each time about another run. What is
measured is the time from the request to the last byte of the answer, within the
process, and how much of it was this process's own work; the bar is 100 ms.
`--quick` does the same with 20,000 runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy

from benchmarks import history
from flask_squidmesh import SquidMesh, Workflow, approval, complete, manual, pause, step, wait
from flask_squidmesh.clock import Clock
from flask_squidmesh.testing import run_until_idle
from tests.support.postgres import postgres_server

BAR: Final = 100.0
"""Milliseconds of server time that a page may take."""

PREFIX: Final = "/squidmesh/dashboard"
db = SQLAlchemy()


def _fail() -> None:
    raise RuntimeError("out of paper")


class Request(Workflow):
    """Waits for a person at an approval, and at a pause."""

    go = manual()
    check = step(lambda: {"checked": True})
    release = approval(output="release")
    hold = pause()
    pay = step(lambda: {"paid": True})
    decline = step(_fail)
    transitions = [
        check >> release >> hold >> pay >> complete,
        release.on_error(decline),
        decline >> complete,
    ]


class Sleeper(Workflow):
    """Waits for a timer."""

    go = manual()
    nap = wait(seconds=86_400)
    transitions = [nap >> complete]


def make_app(url: str) -> Flask:
    """Return an application with the dashboard, in which everything is granted."""
    app = Flask("benchmarks.dashboard")
    app.config.update(
        SECRET_KEY="benchmarks",  # noqa: S106  # of nothing
        SQLALCHEMY_DATABASE_URI=url,
        SQUIDMESH_DISPATCH="manual",
        SQUIDMESH_DASHBOARD=True,
    )
    db.init_app(app)
    squidmesh = SquidMesh(app, db=db, workflows=[*history.WORKFLOWS, Request, Sleeper])
    squidmesh.authorize(lambda _action, _run: "bench")
    app.extensions["bench"] = squidmesh
    return app


def fill(squidmesh: SquidMesh, runs: int, live: int) -> None:
    """Add *runs* finished runs, and *live* of each kind that is not over, or has failed."""
    history.seed(db.engine, runs=runs, until=Clock().now)
    for _ in range(live):
        squidmesh.start_run(Request)
        squidmesh.start_run(Sleeper)
    run_until_idle(limit=10 * live)
    waiting = squidmesh.list_runs(workflow=Request, status="paused", limit=min(live, 500))
    for number, run in enumerate(waiting):
        if number % 3 == 0:
            squidmesh.reject_run(run.id, actor="bench")
        elif number % 3 == 1:
            squidmesh.approve_run(run.id, actor="bench", comment="in order")
    run_until_idle(limit=10 * live)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def pages(squidmesh: SquidMesh) -> Mapping[str, Callable[[], str]]:
    """Return for each page a function that gives its next address."""

    def ids(status: str, workflow: type[Workflow] | str) -> Iterator[str]:
        found = squidmesh.list_runs(workflow=workflow, status=status, limit=100)
        return cycle([run.id for run in found] or ["none"])

    finished = cycle(run.id for run in squidmesh.list_runs(status="completed", limit=100))
    paused, failed = ids("paused", Request), ids("failed", Request)
    later = squidmesh.list_runs(limit=50).next
    addresses: dict[str, Callable[[], str]] = {
        "overview": lambda: "/",
        "inbox": lambda: "/inbox",
        "runs": lambda: "/runs",
        "runs, second page": lambda: f"/runs?after={later}",
        "runs of a trigger": lambda: "/runs?workflow=request&trigger=go",
        "runs of a rare trigger": lambda: "/runs?trigger=support",
        "run, completed": lambda: f"/runs/{next(finished)}",
        "run, paused": lambda: f"/runs/{next(paused)}",
        "run, failed": lambda: f"/runs/{next(failed)}",
        "step": lambda: f"/runs/{next(paused)}/steps/check",
        "decision": lambda: f"/runs/{next(paused)}/decisions/release/1",
        "cancel": lambda: f"/runs/{next(paused)}/cancel",
        "workflows": lambda: "/workflows",
        "workflow": lambda: "/workflows/request",
    }
    for status in ("running", "paused", "completed", "failed", "cancelled"):
        addresses[f"runs, {status}"] = lambda status=status: f"/runs?status={status}"  # type: ignore[misc]  # each its own
    for workflow in history.WORKFLOWS:
        name = workflow.name
        addresses[f"runs of {name}"] = lambda name=name: f"/runs?workflow={name}"  # type: ignore[misc]  # each its own
        addresses[f"failed runs of {name}"] = (
            lambda name=name: f"/runs?workflow={name}&status=failed"  # type: ignore[misc]  # each its own
        )
    return addresses


def measure(
    client: FlaskClient, addresses: Mapping[str, Callable[[], str]], rounds: int
) -> dict[str, dict[str, float]]:
    """Ask for every page in turn, *rounds* times after two for warming up."""
    times: dict[str, list[float]] = {name: [] for name in addresses}
    work: dict[str, list[float]] = {name: [] for name in addresses}
    sizes: dict[str, int] = {}
    for number in range(rounds + 2):
        for name, address in addresses.items():
            began, busy = time.perf_counter(), time.process_time()
            answer = client.get(PREFIX + address())
            took = (time.perf_counter() - began) * 1000
            own = (time.process_time() - busy) * 1000
            if answer.status_code != 200:
                raise RuntimeError(f"{name}: {answer.status_code}")
            if number >= 2:
                times[name].append(took)
                work[name].append(own)
            sizes[name] = len(answer.data)
    return {
        name: {
            "median_ms": round(statistics.median(found), 1),
            "p95_ms": round(statistics.quantiles(found, n=20)[-1], 1),
            "own_ms": round(statistics.median(work[name]), 1),
            "bytes": sizes[name],
        }
        for name, found in times.items()
    }


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Return the figures for people."""
    heads = f"{'page':<34}{'median ms':>11}{'p95 ms':>9}{'own ms':>9}{'bytes':>9}"
    lines = [f"{heads}  bar {BAR:.0f} ms (p95)"]
    for name, found in figures.items():
        verdict = "" if found["p95_ms"] <= BAR else "  over"
        lines.append(
            f"{name:<34}{found['median_ms']:>11}{found['p95_ms']:>9}{found['own_ms']:>9}"
            f"{found['bytes']:>9}{verdict}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table, and write the figures where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--live", type=int, default=1_000, help="of each kind that is not over")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    # Steps that fail are to fail here.
    logging.getLogger("flask_squidmesh.steps").setLevel(logging.CRITICAL)
    runs, live = (20_000, 100) if asked.quick else (asked.runs, asked.live)
    with postgres_server() as server:
        app = make_app(
            sa.make_url(server.url())
            .set(drivername="postgresql+psycopg")
            .render_as_string(hide_password=False)
        )
        with app.app_context():
            db.create_all()
            squidmesh: Any = app.extensions["bench"]
            fill(squidmesh, runs, live)
            figures = measure(app.test_client(), pages(squidmesh), asked.rounds)
            db.session.remove()
            db.engine.dispose()
    print(table(figures))  # noqa: T201  # its purpose
    if asked.json is not None:
        document = {"runs": runs, "live": live, "bar_ms": BAR, "pages": figures}
        asked.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(found["p95_ms"] <= BAR for found in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

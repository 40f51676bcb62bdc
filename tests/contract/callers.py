"""A process that calls the public API from several threads, as many beside it do.

    python -m tests.contract.callers start|decide URL FILE [RUN]

Says `up`, waits until FILE exists, makes its calls, prints an answer per line
as JSON, and ends.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from marshmallow import fields

from flask_squidmesh import InvalidTransition, Workflow, approval, complete, manual, step
from flask_squidmesh.clock import wait_until
from flask_squidmesh.ids import new_id
from tests.contract.host import World, make_world

THREADS = 4


class Charge(Workflow):
    """Has a default that is another one for every run."""

    go = manual(account_id=fields.String(required=True), token=fields.Raw(load_default=new_id))
    work = step(lambda: None)
    transitions = [work >> complete]  # the specification writes it like this


class Review(Workflow):
    """Stands at an approval."""

    go = manual()
    review = approval()
    ship = step(lambda: None)
    refund = step(lambda: None)
    transitions = [  # the specification writes it like this
        review >> ship >> complete,
        review.on_error(refund) >> complete,
    ]


def start(world: World, number: int) -> dict[str, str]:
    """Start a run with one of five keys."""
    run = world.squidmesh.start_run(
        "charge", {"account_id": "A1"}, idempotency_key=f"key-{number % 5}"
    )
    return {"run_id": run.id}


def decide(world: World, number: int, run_id: str) -> dict[str, str]:
    """Approve or reject the run."""
    call = world.squidmesh.approve_run if number % 2 else world.squidmesh.reject_run
    try:
        call(run_id, actor=f"caller {number}")
    except InvalidTransition as error:
        return {"refused": error.requested, "current": error.current}
    return {"won": "approved" if number % 2 else "rejected"}


def call_many(world: World, call: Callable[[int], dict[str, str]], count: int) -> None:
    """Make *count* calls from some threads, and print what they answer."""

    def one(number: int) -> None:
        with world.app.app_context():
            print(json.dumps(call(number)) + "\n", end="", flush=True)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(count)))


def main(what: str, url: str, file: str, *rest: str) -> None:
    with make_world(url) as world:
        world.squidmesh.register(Charge)
        world.squidmesh.register(Review)
        print("up", flush=True)
        if not wait_until(Path(file).exists, timeout=30, interval=0.001):
            raise SystemExit("nobody said go")
        if what == "start":
            call_many(world, lambda number: start(world, number), 20)
        else:
            call_many(world, lambda number: decide(world, number, *rest), 50)


if __name__ == "__main__":
    main(*sys.argv[1:])

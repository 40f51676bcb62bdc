"""A process that does one thing many times, as others beside it do at the same moment.

    python -m tests.concurrency.racers WHAT URL FOLDER ROUNDS [ARGUMENTS]

For each round it says `ready N`, waits until the file `go-N` is in FOLDER, and
lets some threads act at once; every answer is a line of JSON. In the end it
says `done`. Time stands still at noon, a round later by an hour.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask_squidmesh import (
    InvalidTransition,
    StepContext,
    Workflow,
    approval,
    complete,
    cron,
    manual,
    step,
    wait,
)
from flask_squidmesh.clock import FrozenClock, wait_until
from flask_squidmesh.testing import abandon, deliver, freeze, tick
from tests.contract.host import World, db, make_world, write

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
THREADS = 4
CALLS = 50
"""How many calls a process makes in one round of deciding."""
Answer = dict[str, Any]


def mark() -> None:
    """Leave a sign of having been executed that no transaction takes back."""
    with db.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO executions DEFAULT VALUES")


def charge(context: StepContext) -> None:
    """Leave both signs."""
    mark()
    write(context.run_id)


class Review(Workflow):
    """Stands at an approval."""

    go = manual()
    review = approval(output="decision")
    ship = step(lambda: None)
    refund = step(lambda: None)
    transitions = [review >> ship >> complete, review.on_error(refund), refund >> complete]


class Charge(Workflow):
    """Has one step that leaves signs inside and outside of its transaction."""

    go = manual()
    work = step(charge)
    transitions = [work >> complete]


class Dying(Workflow):
    """Loses its worker."""

    go = manual()
    work = step(lambda context: abandon(context.run_id, context.step))
    transitions = [work >> complete]


class Resting(Workflow):
    """Waits for ten minutes."""

    go = manual()
    rest = wait(seconds=600)
    transitions = [rest >> complete]


class Digest(Workflow):
    """Fires every hour."""

    hourly = cron("@hourly")
    work = step(lambda: None)
    transitions = [work >> complete]


WORKFLOWS = (Review, Charge, Dying, Resting, Digest)


@contextmanager
def open_world(url: str) -> Iterator[World]:
    """Open an application that knows all of these workflows."""
    with make_world(url) as world:
        for workflow in WORKFLOWS:
            world.squidmesh.register(workflow)
        yield world


def decide(world: World, number: int, run_id: str) -> Answer:
    """Approve, reject or cancel the run."""
    verb = ("approve", "reject")[number % 2]
    try:
        run = getattr(world.squidmesh, f"{verb}_run")(run_id, actor=f"{os.getpid()}-{number}")
    except InvalidTransition as error:
        return {"refused": error.requested, "current": error.current}
    return {"won": verb, "led_to": run.current_step}


def end(world: World, number: int, run_id: str) -> Answer:
    """Decide or cancel: four verbs at once on one paused run."""
    if number % 3:
        return decide(world, number, run_id)
    try:
        world.squidmesh.cancel_run(run_id, actor=f"{os.getpid()}-{number}")
    except InvalidTransition as error:
        return {"refused": error.requested, "current": error.current}
    return {"won": "cancel"}


def start(world: World, number: int, key: str) -> Answer:
    """Start a run under the key of this round, on its own or in the host's transaction."""
    if number % 2:
        return {"run_id": world.squidmesh.start_run("charge", idempotency_key=key).id}
    run = world.squidmesh.start_run("charge", idempotency_key=key, session=db.session)
    db.session.commit()
    return {"run_id": run.id}


def take(world: World, number: int, run_id: str) -> Answer:
    """Deliver the message for the run's step."""
    return {"word": deliver(run_id, "work")}


def look(world: World, number: int) -> Answer:
    """Do one round of the ticker."""
    return tick().to_dict()


ACTIONS: dict[str, tuple[Callable[..., Answer], int]] = {
    # what, and how often each process does it in a round
    "decide": (decide, CALLS),
    "end": (end, CALLS),
    "start": (start, 2 * THREADS),
    "take": (take, 2 * THREADS),
    "look": (look, THREADS),
}


def race(world: World, clock: FrozenClock, what: str, number: int, *rest: str) -> None:
    """Let some threads act at once, and print what they answer."""
    action, times = ACTIONS[what]
    printing = threading.Lock()

    def act(count: int) -> None:
        with world.app.app_context():
            answer = action(world, count, *rest)
        with printing:
            print(json.dumps({"round": number, **answer}), flush=True)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(act, range(times)))


def main(what: str, url: str, folder: str, rounds: str, *arguments: str) -> None:
    with open_world(url) as world, freeze(NOON) as clock:
        for number in range(int(rounds)):
            print(f"ready {number}", flush=True)
            go = Path(folder) / f"go-{number}"
            if not wait_until(go.exists, timeout=60, interval=0.001):
                raise SystemExit("nobody said go")
            race(world, clock, what, number, *arguments[number : number + 1])
            clock.advance(seconds=3600)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

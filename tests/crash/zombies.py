"""Attempts that were taken over write as often as they can: `python -m tests.crash.zombies`.

They write with every function of the store that is guarded by a token, and with
whole settlements, while the run stands where successors can leave it. What must
come of it is nothing: every call says so, and no row of any table changes.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import FrozenClock, Retry, SquidMesh, Workflow, complete, manual, pause, step
from flask_squidmesh.current import state_of
from flask_squidmesh.engine import errors, lease
from flask_squidmesh.engine.claim import take
from flask_squidmesh.engine.memory import Held
from flask_squidmesh.engine.perform import Performed
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.settle import settle
from flask_squidmesh.lifecycle.facts import Failed, Succeeded
from flask_squidmesh.lifecycle.states import StepRunEvent
from flask_squidmesh.store import branches, straight
from flask_squidmesh.testing import deliver, freeze, tick
from tests.crash.host import Entry, db, make_app, prepare
from tests.support.databases import PostgresDatabases
from tests.support.postgres import postgres_server

_NOON: Final = datetime(2026, 11, 2, 12, tzinfo=UTC)


def _nothing() -> None:
    """Do nothing; what happens to the attempt is arranged from outside."""


class Contested(Workflow):
    """A step to be taken over, and others to go on to."""

    go = manual()
    work = step(_nothing, retry=Retry(1000))
    after = step(_nothing)
    hold = pause()
    transitions = (work >> after >> hold >> complete,)


class ContestedJoin(Workflow):
    """The same with branches."""

    go = manual()
    work = step(_nothing, retry=Retry(1000))
    other = step(_nothing)
    both = step(_nothing, after=[work, other])


Do = Callable[[sa.Connection, Held], object]


def _moves() -> dict[str, Do]:
    """Return every guarded function of the store, called as the holder of a lease calls it."""
    later = _NOON + timedelta(days=1)

    def ending(held: Held) -> straight.Ending:
        return straight.Ending(held.branch, held.memory.ordinal + 1, None)

    moves: dict[str, Do] = {
        "restart": lambda c, held: branches.restart(c, held.branch, due_at=later),
        "remove": lambda c, held: branches.remove(c, held.branch),
        "renew": lambda c, held: branches.renew(c, held.branch, until=later, now=_NOON),
        "repoint": lambda c, held: branches.repoint(
            c, held.branch, replace(held.branch, step="after", fencing_token=10**6)
        ),
        "straight.go_on": lambda c, held: straight.go_on(
            c,
            ending(held),
            step="after",
            visit=1,
            worker="zombie",
            lease=timedelta(seconds=60),
            at=None,
        ),
        "straight.complete": lambda c, held: straight.complete(c, ending(held), at=None),
    }
    # Ended step runs leave the table, so of the moves this one is left.
    moves["move"] = lambda c, held: branches.move(
        c, held.branch, StepRunEvent.RETRY, worker="zombie"
    )
    return moves


@dataclass(frozen=True)
class Scene:
    """Where a run stands, and the claims on it that were taken over."""

    name: str
    zombies: tuple[Held, ...]


class Graveyard:
    """Makes zombies, in an application of its own, and lets them write."""

    def __init__(self, app: Flask, squidmesh: SquidMesh, clock: FrozenClock) -> None:
        self.attempted: Counter[str] = Counter()
        self.accepted: list[str] = []
        self._squidmesh = squidmesh
        self._clock = clock
        self._engine = state_of(app).engine()
        self._app = app
        self._scenes = list(self._make_scenes())
        self._chance = random.Random(1)  # noqa: S311  # picks a zombie

    @property
    def _runtime(self) -> Runtime:
        return self._engine._runtime

    def haunt(self, writes: int, *, settlements: int) -> None:
        """Attempt so many guarded writes in the store, and so many settlements."""
        before = _everything()
        moves = list(_moves().items())
        for batch in _batches(writes, 100):
            with db.engine.begin() as connection:
                for _ in range(batch):
                    name, move = self._chance.choice(moves)
                    scene, held = self._pick()
                    self._note(name, scene, accepted=bool(move(connection, held)))
        for _ in range(settlements):
            scene, held = self._pick()
            self._note("settle", scene, accepted=self._settle(held))
            self._note("heartbeat", scene, accepted=lease.renew(self._runtime, held))
        after = _everything()
        for table, rows in before.items():
            if after[table] != rows:
                self.accepted.append(f"rows of {table} have changed")

    def _pick(self) -> tuple[str, Held]:
        scene = self._chance.choice(self._scenes)
        # A claim that was told once that it is lost asks no more; these have not been told.
        return scene.name, replace(self._chance.choice(scene.zombies), is_lost=False)

    def _note(self, what: str, scene: str, *, accepted: bool) -> None:
        self.attempted[what] += 1
        if accepted:
            self.accepted.append(f"{what} while {scene}")

    def _settle(self, held: Held) -> bool:
        failure = errors.make("exception", "too late", retryable=True)
        performed = self._chance.choice(
            [
                Performed(Succeeded(), '{"by":"a zombie"}'),
                Performed(Failed(failure)),
                Performed(Failed(failure, 0.0), traceback="..."),
            ]
        )
        with self._app.app_context():
            if self._chance.random() < 0.5:
                db.session.add(Entry(run_id=held.run.id, step="work", key="zombie", attempt=0))
                db.session.flush()
            settled = settle(self._runtime, held, performed, go_on=self._chance.random() < 0.5)
            return settled.held is not None or bool(settled.news)

    def _make_scenes(self) -> Iterator[Scene]:
        endings: Mapping[str, Callable[[str], object]] = {
            "nobody has taken over yet": lambda _: None,
            "a successor executes": self._take,
            "the successor's attempt has failed": self._fail,
            "the run has gone on": self._go_on,
            "the run stands or is over": self._go_far,
            "the run is being cancelled": lambda run: self._cancel(run, executing=True),
            "the run is cancelled": lambda run: self._cancel(run, executing=False),
        }
        lost = [
            (workflow, name, *self._lose_some(workflow))
            for workflow in (Contested, ContestedJoin)
            for name in endings
        ]
        # Only now, so that no successor's lease runs out.
        for workflow, name, run_id, zombies in lost:
            endings[name](run_id)
            yield Scene(f"{workflow.name}: {name}", zombies)

    def _lose_some(self, workflow: type[Workflow]) -> tuple[str, tuple[Held, ...]]:
        run_id = self._squidmesh.start_run(workflow).id
        return run_id, tuple(self._lose(run_id) for _ in range(5))

    def _go_far(self, run_id: str) -> None:
        for name in ("work", "after", "hold", "other", "both"):
            deliver(run_id, name)

    def _take(self, run_id: str) -> Held:
        held = take(self._runtime, run_id, "work").held
        assert held is not None
        return held

    def _lose(self, run_id: str) -> Held:
        held = self._take(run_id)
        self._clock.advance(seconds=60)
        tick()
        return held

    def _fail(self, run_id: str) -> None:
        failure = errors.make("exception", "failed", retryable=True)
        with self._app.app_context():
            settle(self._runtime, self._take(run_id), Performed(Failed(failure, 60)), go_on=False)

    def _go_on(self, run_id: str) -> None:
        with self._app.app_context():
            settle(self._runtime, self._take(run_id), Performed(Succeeded()), go_on=True)

    def _cancel(self, run_id: str, *, executing: bool) -> None:
        if executing:
            self._take(run_id)
        self._squidmesh.cancel_run(run_id)


def _batches(total: int, size: int) -> Iterator[int]:
    while total > 0:
        yield min(size, total)
        total -= size


def _everything() -> dict[str, set[str]]:
    """Return all rows of all tables."""
    with db.engine.connect() as connection:
        return {
            table.name: {repr(tuple(row)) for row in connection.execute(sa.select(table))}
            for table in db.metadata.sorted_tables
        }


@contextmanager
def graveyard(url: str) -> Iterator[Graveyard]:
    """Open a graveyard in a prepared database."""
    app, squidmesh = make_app(url)
    squidmesh.register(Contested)
    squidmesh.register(ContestedJoin)
    logger = logging.getLogger("flask_squidmesh")
    usual = logger.level
    # Every refusal is worth a warning, but not this many.
    logger.setLevel(logging.ERROR)
    with app.app_context(), freeze(_NOON) as clock:
        try:
            yield Graveyard(app, squidmesh, clock)
        finally:
            logger.setLevel(usual)
            db.engine.dispose()


def main() -> int:
    """Attempt, print the figures, and return 1 if anything was accepted."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.zombies", description=__doc__)
    parser.add_argument("--writes", type=int, default=100_000, help="attempt so many in total")
    total = parser.parse_args().writes
    settlements = total // 20
    with postgres_server() as server:
        url = PostgresDatabases(server.url()).create()
        prepare(url)
        with graveyard(url) as dead:
            dead.haunt(total - 2 * settlements, settlements=settlements)
            for what, count in sorted(dead.attempted.items()):
                print(f"{what:20}{count:8}")
            print(f"{dead.attempted.total()} writes attempted, {len(dead.accepted)} accepted")
            for line in dead.accepted[:20]:
                print(f"    {line}")
            return 1 if dead.accepted else 0


if __name__ == "__main__":
    sys.exit(main())

"""Clients that start runs, and people who decide, through the public API and undeterred."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

from flask import Flask

from benchmarks.chaos import host
from flask_squidmesh import InvalidTransition, SquidMesh
from flask_squidmesh.clock import Clock

T = TypeVar("T")

_SHARES: Final = {
    host.Straight: 6,
    host.Ordered: 3,
    host.Retried: 3,
    host.Failing: 1,
    host.Rescued: 3,
    host.Waiting: 3,
    host.Held: 2,
    host.Reviewed: 3,
    host.Joined: 4,
    host.Looping: 2,
    host.Unwanted: 2,
    host.Slow: 1,
}


class Traffic:
    """Some clients and a person, each in a thread, until `stop` is called.

    `accepted` are the runs whose start was answered: none of them may be lost.
    """

    def __init__(
        self,
        app: Flask,
        squidmesh: SquidMesh,
        *,
        seed: int,
        clients: int,
        runs: int,
        seconds: float,
    ) -> None:
        self.accepted: list[str] = []
        self.counts: Counter[str] = Counter()
        self.longest_start = 0.0
        self._app = app
        self._squidmesh = squidmesh
        self._clock = Clock()
        self._runs = runs
        self._pause = seconds * clients / runs
        self._enough = threading.Event()
        self._stopping = threading.Event()
        self._unwanted: list[tuple[float, str]] = []
        self._clients = [
            threading.Thread(target=self._be_client, args=(n, f"{seed} client {n}"), daemon=True)
            for n in range(clients)
        ]
        self._person = threading.Thread(
            target=self._be_person, args=(f"{seed} person",), daemon=True
        )

    def start(self) -> None:
        """Begin."""
        for thread in (*self._clients, self._person):
            thread.start()

    def stop_starting(self) -> None:
        """Let the clients finish, as soon as there are enough runs; people go on."""
        self._enough.set()
        for thread in self._clients:
            thread.join()

    def stop(self) -> None:
        """End everything."""
        self._stopping.set()
        self._person.join()

    def _be_client(self, number: int, seed: str) -> None:
        chance = random.Random(seed)  # noqa: S311  # traffic
        calls = 0
        while len(self.accepted) < self._runs or not self._enough.is_set():
            calls += 1
            workflow = chance.choices(list(_SHARES), weights=list(_SHARES.values()))[0]
            began = self._clock.monotonic()
            run_id = self._start(workflow, f"{number}-{calls}", chance)
            if run_id is not None:
                self.accepted.append(run_id)
                self._think_of(workflow, run_id, chance)
            took = self._clock.monotonic() - began
            self._enough.wait(0 if self._enough.is_set() else max(0.0, self._pause - took))

    def _start(self, workflow: type[Any], key: str, chance: random.Random) -> str | None:
        payload = {}
        if workflow is host.Reviewed:
            payload["answer"] = chance.choice(("approve", "reject"))
        if workflow is host.Ordered:
            changes_mind = chance.random() < 0.2
            return self._insist(lambda: self._order(changes_mind=changes_mind))
        run_id = self._insist(lambda: self._ask(workflow, payload, key))
        if chance.random() < 0.05:
            again = self._insist(lambda: self._ask(workflow, payload, key))
            self.counts["keys used again"] += 1
            if again != run_id:
                raise RuntimeError(f"two runs for the key {key}: {run_id} and {again}")
        return run_id

    def _ask(self, workflow: type[Any], payload: dict[str, Any], key: str) -> str:
        began = self._clock.monotonic()
        run = self._squidmesh.start_run(workflow, payload, idempotency_key=key)
        self.longest_start = max(self.longest_start, self._clock.monotonic() - began)
        return run.id

    def _order(self, *, changes_mind: bool) -> str | None:
        session = host.db.session
        run = self._squidmesh.start_run(host.Ordered, session=session)
        session.add(host.Order(run_id=run.id))
        if changes_mind:
            session.rollback()
            self.counts["orders rolled back"] += 1
            return None
        session.commit()
        return run.id

    def _think_of(self, workflow: type[Any], run_id: str, chance: random.Random) -> None:
        if workflow is host.Unwanted:
            self._unwanted.append((self._clock.monotonic() + chance.uniform(0, 2), run_id))
        elif chance.random() < 0.02:
            self._insist(lambda: self._squidmesh.replay_run(run_id, actor="a client"))
            self.counts["replays"] += 1

    def _be_person(self, seed: str) -> None:
        chance = random.Random(seed)  # noqa: S311  # decisions
        while not self._stopping.wait(0.2):
            page = self._insist(lambda: self._squidmesh.list_runs(status="paused", limit=200))
            for run in page:
                self._decide(run, chance)
            now = self._clock.monotonic()
            for due in [each for each in self._unwanted if each[0] <= now]:
                self._unwanted.remove(due)
                self._say("cancel", due[1])
            for run in self._insist(self._replayed_and_unwanted):
                self._say("cancel", run.id)

    def _replayed_and_unwanted(self) -> list[Any]:
        """Return replays of runs that nobody wants: no client has asked for them to end."""
        page = self._squidmesh.list_runs(workflow=host.Unwanted, status="running", limit=200)
        return [run for run in page if run.replayed_from_run_id is not None]

    def _decide(self, run: Any, chance: random.Random) -> None:
        if run.workflow == host.Held.name:
            self._say("unblock", run.id)
        else:
            self._say(run.payload["answer"], run.id)
        if chance.random() < 0.1:
            self._say("approve", run.id)

    def _say(self, verb: str, run_id: str) -> None:
        call = getattr(self._squidmesh, f"{verb}_run")

        def say() -> None:
            try:
                call(run_id, actor="a person")
            except InvalidTransition:
                self.counts["decisions that came too late"] += 1

        self._insist(say)
        self.counts[f"{verb} said"] += 1

    def _insist(self, call: Callable[[], T]) -> T:
        """Call until it works: whoever is told that the database is away tries again."""
        while True:
            try:
                with self._app.app_context():
                    return call()
            except Exception as error:  # noqa: BLE001  # a database has many ways to be away
                self.counts[f"calls refused: {type(error).__name__}"] += 1
                self._stopping.wait(0.05)

"""What is done to workers, broker, database and messages, at random and at once."""

from __future__ import annotations

import json
import random
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import redis

from benchmarks.chaos.fleet import Fleet
from benchmarks.chaos.host import LEASE, WORKFLOWS
from flask_squidmesh.clock import Clock
from flask_squidmesh.ids import new_id
from tests.support.postgres import PostgresServer
from tests.support.valkey import Broker

RUN_STEP: Final = "squidmesh.run_step"
QUEUE: Final = "squidmesh"

# In one go: no message is lost, all are in another order.
_SHUFFLE: Final = """
math.randomseed(ARGV[1])
local all = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1])
for last = #all, 1, -1 do
    local picked = math.random(last)
    redis.call('RPUSH', KEYS[1], all[picked])
    all[picked] = all[last]
end
return 0"""

_STEPS: Final = tuple({spec.name for each in WORKFLOWS for spec in each.definition.steps})


class Faults:
    """One thread per kind of fault; `every` says how many seconds apart they are on average.

    Kinds: `kill`, `freeze`, `flush`, `broker`, `database`, `messages`.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        broker: Broker,
        database: PostgresServer,
        celery: Any,
        accepted: Sequence[str],
        every: Mapping[str, float],
        seed: int,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.outages: list[tuple[datetime, datetime]] = []
        self._fleet = fleet
        self._broker = broker
        self._database = database
        self._celery = celery
        self._accepted = accepted
        self._clock = Clock()
        self._over = threading.Event()
        # The broker is not flushed while it is away, nor taken away twice.
        self._broker_lock = threading.Lock()
        kinds: Mapping[str, Callable[[random.Random], None]] = {
            "kill": lambda chance: self._count(fleet.kill(chance)),
            "freeze": self._freeze,
            "flush": lambda _: self._flush(),
            "broker": self._lose_broker,
            "database": self._crash_database,
            "messages": self._confuse,
        }
        self._threads = [
            threading.Thread(target=self._repeat, args=(kinds[kind], pause, f"{seed} {kind}"))
            for kind, pause in every.items()
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; afterwards everything that was taken away is back."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, fault: Callable[[random.Random], None], every: float, seed: str) -> None:
        chance = random.Random(seed)  # noqa: S311  # misfortune
        while not self._over.wait(chance.uniform(0.5, 1.5) * every):
            fault(chance)

    def _count(self, what: str, number: int = 1) -> None:
        self.counts[what] += number

    def _freeze(self, chance: random.Random) -> None:
        worker = self._fleet.freeze(chance)
        if worker is not None:
            self._over.wait(LEASE * chance.uniform(1.2, 2))
            self._fleet.thaw(worker)
            self._count("workers frozen beyond their lease")

    def _flush(self) -> None:
        with self._broker_lock:
            self._broker.flush()
        self._count("broker flushed")

    def _lose_broker(self, chance: random.Random) -> None:
        with self._broker_lock:
            self._broker.remove()
            self._over.wait(chance.uniform(0.0, 3.0))
            self._broker.start()
        self._count("broker killed")

    def _crash_database(self, chance: random.Random) -> None:
        began = self._clock.now
        self._database.crash()
        self._over.wait(chance.uniform(0.0, 2.0))
        self._database.start()
        self.outages.append((began, self._clock.now))
        self._count("database crashed")

    def _confuse(self, chance: random.Random) -> None:
        with suppress(redis.RedisError, OSError):
            with redis.Redis.from_url(self._broker.url) as client:
                waiting: Any = client.lrange(QUEUE, 0, 50)
                client.eval(_SHUFFLE, 1, QUEUE, str(chance.randrange(10**6)))
                self._count("messages reordered", len(waiting))
            for message in waiting:
                if chance.random() < 0.3:
                    self._send("messages duplicated", _args(message))
        for _ in range(10):
            self._send("messages forged", self._forged(chance))

    def _forged(self, chance: random.Random) -> Any:
        run_id = new_id()
        if self._accepted and chance.random() < 0.7:
            run_id = chance.choice(self._accepted)
        step = chance.choice(_STEPS)
        return chance.choice(
            [
                *[[run_id, step]] * 6,
                [run_id],
                [run_id, step, "more"],
                [step, run_id],
                [run_id, None],
                [run_id, "x" * 10_000],
                [{"run": run_id}, [step]],
                ["\0", "'; DROP TABLE squidmesh_runs; --"],
            ]
        )

    def _send(self, what: str, args: Any) -> None:
        with suppress(Exception):
            self._celery.send_task(
                RUN_STEP, args=args, queue=QUEUE, retry=False, ignore_result=True
            )
            self._count(what)


def _args(message: bytes) -> Any:
    """Return the arguments in a message as Redis holds it."""
    return json.loads(b64decode(json.loads(message)["body"]))[0]

"""A Celery chain over Valkey: nothing durable, and the same worker settings as ours.

celery -A benchmarks.contestants.celery_chain:celery_app worker
"""

from __future__ import annotations

import os
from typing import Any, Final

import redis
from celery import Celery, chain

from benchmarks.celery_worker import start_celery, tell_when_ready
from benchmarks.contestants.contestant import Contestant
from benchmarks.servers import Servers
from benchmarks.work import PAYLOAD, RESULT, STEPS
from tests.support.process import Process

APP: Final = "benchmarks.contestants.celery_chain:celery_app"
QUEUE: Final = "chain"


class CeleryChain(Contestant):
    """One task per step, linked; each passes its result on."""

    name = "celery chain"
    pool = "prefork"
    distributions = ("celery", "redis")

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        self.client = redis.Redis.from_url(servers.broker.url)
        self.celery = make_celery(servers.broker.url)

    def enqueue(self, runs: int) -> None:
        tasks = self.celery.tasks
        for _ in range(runs):
            chain(tasks["first"].s(dict(PAYLOAD)), *(tasks["next"].s() for _ in STEPS[1:]))()

    def start_worker(self, number: int, of: int) -> Process:
        env = {"BROKER_URL": self.servers.broker.url}
        return start_celery(self.servers, APP, QUEUE, env=env, number=number, pool=self.pool)

    def steps_done(self) -> int:
        """Return how many messages were sent and have left the queue.

        A chain sends its next message before its task ends, and is not asked to
        count anything: that would be work.
        """
        stats: Any = self.client.info("commandstats")
        sent = int(stats.get("cmdstat_lpush", {}).get("calls", 0))
        waiting: Any = self.client.llen(QUEUE)
        unacknowledged: Any = self.client.hlen("unacked")
        return sent - int(waiting) - int(unacknowledged)

    def reset(self) -> None:
        self.client.flushdb()
        self.client.config_resetstat()

    def close(self) -> None:
        super().close()
        self.client.close()
        self.celery.close()


class CeleryChainSolo(CeleryChain):
    """The same without a pool: the process that takes messages executes them itself."""

    name = "celery chain, solo pool"
    pool = "solo"


def make_celery(broker: str) -> Celery:
    """Return the Celery app, for the client and for the worker."""
    celery = Celery("chain", broker=broker, set_as_current=False)
    celery.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
    )

    @celery.task(name="first", shared=False)  # type: ignore[untyped-decorator]
    def first(_: dict[str, str]) -> str:
        return RESULT

    @celery.task(name="next", shared=False)  # type: ignore[untyped-decorator]
    def following(_: str) -> str:
        return RESULT

    return celery


def __getattr__(name: str) -> Any:
    """Give a worker process its Celery app."""
    if name != "celery_app":
        raise AttributeError(name)
    tell_when_ready()
    globals()["celery_app"] = made = make_celery(os.environ["BROKER_URL"])
    return made

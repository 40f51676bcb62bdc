"""The least that a message between two processes costs, when both sides commit once.

celery -A benchmarks.hop:celery_app worker
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

import psycopg
import redis
from celery import Celery

from benchmarks.celery_worker import start_celery, tell_when_ready
from benchmarks.host import PROBE
from benchmarks.servers import Servers, plain

QUEUE: Final = "hop"
TABLE: Final = "CREATE TABLE hops (id bigint PRIMARY KEY, is_taken boolean NOT NULL)"
SEND: Final = "INSERT INTO hops VALUES (%s, false)"
TAKE: Final = "UPDATE hops SET is_taken = true WHERE id = %s AND NOT is_taken"


class Hop:
    """The client's side, and the worker that it has started."""

    def __init__(self, servers: Servers) -> None:
        url = plain(servers.database())
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(TABLE)
        self._celery = _celery(servers.broker.url)
        self._sent = 0
        env = {"DATABASE_URL": url, "BROKER_URL": servers.broker.url}
        self._worker = start_celery(servers, "benchmarks.hop:celery_app", QUEUE, env=env)
        self._servers = servers

    def send(self) -> None:
        """Commit a row, and send a message about it."""
        self._sent += 1
        self._connection.execute(SEND, [self._sent])
        self._celery.send_task("take", args=[self._sent])

    def close(self) -> None:
        """End the worker."""
        self._servers.end(self._worker)
        self._connection.close()
        self._celery.close()


def _celery(broker: str) -> Celery:
    celery = Celery("hop", broker=broker, set_as_current=False)
    celery.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
    )
    return celery


def _worker_app() -> Celery:
    """Return the Celery app of the worker; its pool process connects when it first works."""
    celery = _celery(os.environ["BROKER_URL"])
    client = redis.Redis.from_url(os.environ["BROKER_URL"])
    opened: list[psycopg.Connection[Any]] = []

    @celery.task(name="take", shared=False)  # type: ignore[untyped-decorator]
    def take(number: int) -> None:
        if not opened:
            opened.append(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True))
        opened[0].execute(TAKE, [number])
        client.rpush(PROBE, repr(time.perf_counter()))

    return celery


def __getattr__(name: str) -> Any:
    """Give a worker process its Celery app."""
    if name != "celery_app":
        raise AttributeError(name)
    tell_when_ready()
    globals()["celery_app"] = made = _worker_app()
    return made

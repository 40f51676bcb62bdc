"""Celery workers that execute one task at a time, with the same settings for everybody.

They are those of `flask squidmesh worker`: a message is taken when it can be
executed, not before; what is not asked for is not logged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from celery.signals import worker_ready

from benchmarks.servers import Servers
from tests.support.process import Process

READY: Final = "takes messages now"
ALONE: Final = ("--without-mingle", "--without-gossip", "--without-heartbeat")
"""So a worker starts at once."""


def tell_when_ready() -> None:
    """Have the worker of this process write a line into its log as soon as it consumes."""
    worker_ready.connect(_tell, weak=False, dispatch_uid=__name__)


def _tell(**_: object) -> None:
    logging.getLogger(__name__).warning(READY)


def start_celery(
    servers: Servers,
    app: str,
    queue: str,
    *,
    env: Mapping[str, str],
    number: int = 0,
    pool: str = "prefork",
) -> Process:
    """Start a worker of the Celery app that *app* names, for one queue."""
    return servers.start(
        *("-m", "celery", "-A", app, "worker", "-n", f"worker{number}@%h", "-Q", queue),
        *("--concurrency", "1", "--pool", pool, "--loglevel", "warning"),
        *("--prefetch-multiplier", "1", "-O", "fair", *ALONE),
        ready=READY,
        env=env,
    )

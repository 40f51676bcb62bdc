"""The application that is measured: `create_app()` as its author would write it.

Which workflows it has, the environment says, by the names of `workflow_named`:
"straight", "long:1000", "fan_out:100", "probe", "approved".
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final, Self, cast

import redis
from celery import Celery
from flask import Flask
from flask.ctx import AppContext
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields

from benchmarks.celery_worker import ALONE, READY, tell_when_ready
from benchmarks.fan_out import fan_out
from benchmarks.schema import migrate
from benchmarks.servers import Servers
from benchmarks.work import RESULT, STEPS
from flask_squidmesh import SquidMesh, Workflow, approval, complete, manual, step
from flask_squidmesh.definition.workflow import WorkflowType
from tests.support.process import Process

PROBE: Final = "probe"
"""The list in Valkey that gets the time at which the step of `probe` began."""


def workflow_named(name: str) -> type[Workflow]:
    """Return a workflow; after a colon stands its size."""
    kind, _, size = name.partition(":")
    return {
        "straight": straight,
        "long": lambda: long(int(size)),
        "fan_out": lambda: fan_out(int(size)),
        "probe": probe,
        "approved": approved,
    }[kind]()


def _made(name: str, body: dict[str, Any]) -> type[Workflow]:
    made: Any = WorkflowType(name, (Workflow,), body)
    return cast("type[Workflow]", made)


def _chained(name: str, steps: Sequence[str]) -> type[Workflow]:
    body: dict[str, Any] = {"go": manual(text=fields.String(required=True))}
    body |= {each: step(lambda: RESULT, output=each) for each in steps}
    whole = body[steps[0]]
    for each in steps[1:]:
        whole = whole >> body[each]
    body["transitions"] = [whole >> complete]
    return _made(name, body)


def straight() -> type[Workflow]:
    """Return the workflow of `benchmarks.work.STEPS`."""
    return _chained("Straight", STEPS)


def long(size: int) -> type[Workflow]:
    """Return a straight workflow with *size* steps."""
    return _chained("Long", [f"step_{number}" for number in range(size)])


def probe() -> type[Workflow]:
    """Return a workflow whose step tells when it began."""
    connected: list[redis.Redis] = []

    def tell() -> None:
        began = time.perf_counter()
        if not connected:
            connected.append(redis.Redis.from_url(os.environ["BROKER_URL"]))
        connected[0].rpush(PROBE, repr(began))

    work = step(tell)
    return _made("Probe", {"go": manual(), "work": work, "transitions": [work >> complete]})


def approved() -> type[Workflow]:
    """Return a workflow that waits for a decision, and goes on with a step."""
    review, after = approval(output="decision"), step(lambda: None)
    transitions = [review >> after >> complete, review.on_error(complete)]
    body = {"go": manual(), "review": review, "after": after, "transitions": transitions}
    return _made("Approved", body)


class Host:
    """The application, with its context open while the object is used by `with`."""

    def __init__(self, database_url: str, broker_url: str, *workflows: str) -> None:
        """Create it; *workflows* are names of `workflow_named`."""
        self.app = Flask("benchmarks.host")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = database_url
        # As `docs/operations.md` recommends it.
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_use_lifo": True}
        self.db = SQLAlchemy(self.app)
        self.celery = Celery("bench", broker=broker_url, set_as_current=False)
        self.celery.conf.update(
            task_ignore_result=True,
            broker_connection_retry_on_startup=True,
            worker_hijack_root_logger=False,
        )
        self.app.extensions["celery"] = self.celery
        made = [workflow_named(name) for name in workflows]
        self.squidmesh = SquidMesh(self.app, db=self.db, workflows=made)
        self._contexts: list[AppContext] = []

    def __enter__(self) -> Self:
        self._contexts.append(self.app.app_context())
        self._contexts[-1].push()
        return self

    def __exit__(self, *_: object) -> None:
        self.db.session.remove()
        self._contexts.pop().pop()

    def create_tables(self) -> None:
        """Create the tables in the empty database."""
        migrate(self.db.engine)
        self.db.engine.dispose()

    def close(self) -> None:
        """Close the connections."""
        with self:
            self.db.engine.dispose()
        self.celery.close()


def worker(
    servers: Servers,
    database_url: str,
    *workflows: str,
    number: int = 0,
    pool: str = "prefork",
    concurrency: int = 1,
) -> Process:
    """Start `flask squidmesh worker`, by default for one step at a time."""
    return servers.start(
        *("-m", "flask", "--app", "benchmarks.host:create_app", "squidmesh", "worker"),
        *("--concurrency", str(concurrency), "--pool", pool, "--loglevel", "warning"),
        *("-n", f"worker{number}@%h", *ALONE),
        ready=READY,
        env={
            "DATABASE_URL": database_url,
            "BROKER_URL": servers.broker.url,
            "WORKFLOWS": " ".join(workflows),
        },
    )


def create_app() -> Flask:
    """Return the application of a worker process."""
    global _host  # noqa: PLW0603  # Celery knows its app by a weak reference
    tell_when_ready()
    names = os.environ["WORKFLOWS"].split()
    _host = Host(os.environ["DATABASE_URL"], os.environ["BROKER_URL"], *names)
    return _host.app


_host: Host | None = None

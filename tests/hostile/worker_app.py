"""An application for worker processes whose steps begin, wait and end as a test tells them.

`celery -A tests.hostile.worker_app:celery_app worker`; DATABASE_URL, BROKER_URL
and FOLDER come from the environment, as does every SQUIDMESH_* setting. A step
called `first` touches `first-begun-1` in FOLDER when its attempt 1 begins, waits
for the file `first-go`, and touches `first-ended-1`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from flask import Flask

from flask_squidmesh import SquidMesh, StepContext, Workflow, complete, manual, step
from flask_squidmesh.clock import wait_until
from tests.contract.host import db, write

PATIENCE = 60


def go_through(context: StepContext) -> dict[str, Any]:
    """Begin, wait and end as a test wants it."""
    folder = Path(os.environ["FOLDER"])
    (folder / f"{context.step}-begun-{context.attempt}").touch()
    if not wait_until((folder / f"{context.step}-go").exists, timeout=PATIENCE):
        raise TimeoutError("nobody said go")
    (folder / f"{context.step}-ended-{context.attempt}").touch()
    return {context.step: os.getpid()}


def write_and_go_through(context: StepContext) -> dict[str, Any]:
    """The same, with something written before and after the wait."""
    write(f"{context.step} before")
    db.session.flush()
    result = go_through(context)
    write(f"{context.step} after")
    return result


class Plain(Workflow):
    """Two steps that do not use the database."""

    go = manual()
    first = step(go_through)
    second = step(go_through)
    transitions = [first >> second >> complete]


class Writing(Workflow):
    """Two steps, of which one writes."""

    go = manual()
    first = step(write_and_go_through)
    second = step(go_through)
    transitions = [first >> second >> complete]


class Quick(Workflow):
    """Three steps that wait for nobody."""

    go = manual()
    one = step(lambda: {"one": os.getpid()})
    two = step(lambda: {"two": os.getpid()})
    three = step(lambda: {"three": os.getpid()})
    transitions = [one >> two >> three >> complete]


squidmesh = SquidMesh(workflows=[Plain, Writing, Quick])


def make_app(environment: Mapping[str, str]) -> Flask:
    """Return the application that *environment* describes."""
    made = Flask("tests.hostile")
    made.config["SQLALCHEMY_DATABASE_URI"] = environment["DATABASE_URL"]
    if options := environment.get("ENGINE_OPTIONS"):
        made.config["SQLALCHEMY_ENGINE_OPTIONS"] = json.loads(options)
    made.config["SQUIDMESH_INLINE_BUDGET"] = 600
    for name in ("SQUIDMESH_LEASE_TTL", "SQUIDMESH_TICK_INTERVAL"):
        if name in environment:
            made.config[name] = float(environment[name])
    db.init_app(made)
    celery = Celery("hostile", broker=environment["BROKER_URL"], set_as_current=False)
    celery.conf.update(broker_connection_retry_on_startup=True)
    made.extensions["celery"] = celery
    squidmesh.init_app(made, db=db)
    return made


if "DATABASE_URL" in os.environ:
    app = make_app(os.environ)
    celery_app = app.extensions["celery"]

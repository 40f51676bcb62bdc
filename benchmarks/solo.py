"""An application that does its work in the process that measures: no broker, no worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import SquidMesh, Workflow, complete, manual, step
from flask_squidmesh.current import state
from flask_squidmesh.engine.engine import Engine


class FiveSteps(Workflow):
    """A straight path of steps that do nothing."""

    go = manual()
    one = step(lambda: {"one": 1})
    two = step(lambda: {"two": 2})
    three = step(lambda: {"three": 3})
    four = step(lambda: {"four": 4})
    five = step(lambda: {"five": 5})
    transitions = [one >> two >> three >> four >> five >> complete]


@dataclass
class Solo:
    """An application, and how many statements it has executed."""

    app: Flask
    squidmesh: SquidMesh
    database: sa.Engine
    engine: Engine
    statements: int = 0

    def run(self, workflow: type[Workflow]) -> str:
        """Start a run, and execute it as one message does that has time for all of it."""
        with self.app.app_context():
            run = self.squidmesh.start_run(workflow)
            self.deliver(run.id, workflow.definition.entry_steps[0])
        return run.id

    def deliver(self, run_id: str, step: str) -> None:
        """Do what a message does."""
        with self.app.app_context():
            self.engine.deliver(
                run_id, step, may_continue=lambda: True, after_commit=lambda _news: None
            )


@contextmanager
def solo(url: str, workflows: Sequence[type[Workflow]], **config: object) -> Iterator[Solo]:
    """Make an application with all tables in the database at *url*."""
    db = SQLAlchemy()
    app = Flask("benchmarks.solo")
    app.config.from_mapping(config, SQLALCHEMY_DATABASE_URI=url, SQUIDMESH_DISPATCH="manual")
    db.init_app(app)
    squidmesh = SquidMesh(app, db=db, workflows=workflows)
    with app.app_context():
        db.create_all()
        here = Solo(app, squidmesh, db.engine, state().engine())

    def count(*_: object) -> None:
        here.statements += 1

    sa.event.listen(here.database, "before_cursor_execute", count)
    try:
        yield here
    finally:
        here.database.dispose()

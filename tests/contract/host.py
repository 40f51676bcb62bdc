"""A host application with one table of its own, as small as one can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_squidmesh import Run, SquidMesh, StepRun, StepState, Workflow, complete, manual, step
from flask_squidmesh.testing import run_until_idle

db = SQLAlchemy()


class Note(db.Model):  # type: ignore[name-defined, misc]  # Flask-SQLAlchemy makes the base at run time
    """Something a step writes, to see whether it is kept; texts are unique."""

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    text: orm.Mapped[str] = orm.mapped_column(sa.String(50), unique=True)


class World:
    """One application, within its context, and short words for what tests do with it."""

    def __init__(self, app: Flask, squidmesh: SquidMesh) -> None:
        self.app = app
        self.squidmesh = squidmesh

    def start(
        self, workflow: type[Workflow], payload: Mapping[str, Any] | None = None, **options: Any
    ) -> str:
        """Register *workflow*, start a run of it, and return the run's id."""
        self.squidmesh.register(workflow)
        return self.squidmesh.start_run(workflow, payload, **options).id

    def see(self, run_id: str) -> Run:
        """Return the run with its history."""
        return self.squidmesh.inspect_run(run_id, include_history=True)

    def go(self, run_id: str, *, advance: bool = False) -> Run:
        """Execute what is ready, and return the run with its history."""
        run_until_idle(advance=advance)
        return self.see(run_id)

    def run(
        self,
        workflow: type[Workflow],
        payload: Mapping[str, Any] | None = None,
        *,
        advance: bool = False,
    ) -> Run:
        """Start a run of *workflow*, execute what is ready, and return it with its history."""
        return self.go(self.start(workflow, payload), advance=advance)

    def count_runs(self) -> int:
        return len(self.squidmesh.list_runs(limit=500))


def make_app(url: str, **config: Any) -> Flask:
    """Return an application with a database, without the extension."""
    app = Flask("tests.contract")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    if url.startswith("postgresql"):
        # Nothing here crashes the server, and hundreds of tests wait for their commits.
        quick = {"connect_args": {"options": "-c synchronous_commit=off"}}
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = quick
    app.config.update({"SQUIDMESH_DISPATCH": "manual", **config})
    db.init_app(app)
    return app


@contextmanager
def make_world(url: str, **config: Any) -> Iterator[World]:
    """Open the context of a new application with the extension."""
    app = make_app(url, **config)
    squidmesh = SquidMesh(app, db=db)
    with app.app_context():
        try:
            yield World(app, squidmesh)
        finally:
            db.session.remove()
            db.engine.dispose()


def prepare(url: str) -> None:
    """Create all tables in an empty database."""
    with make_world(url):
        db.create_all()


def empty(url: str) -> None:
    """Forget all rows."""
    with make_world(url), db.engine.begin() as connection:
        for table in reversed(db.metadata.sorted_tables):
            connection.execute(sa.delete(table))


def notes() -> list[str]:
    """Return the texts of all notes that are committed, in alphabetical order."""
    with db.engine.connect() as connection:
        return list(connection.scalars(sa.select(Note.text).order_by(Note.text)))


def write(text: str) -> None:
    """Add a note in the host's session."""
    db.session.add(Note(text=text))


def single(function: Callable[..., Any], **options: Any) -> type[Workflow]:
    """Return a workflow whose only step, `work`, runs *function*."""

    class Single(Workflow):
        go = manual()
        work = step(function, **options)
        transitions = [work >> complete]  # the specification writes it like this

    return Single


def step_state(run: Run, name: str) -> StepState:
    """Return where a declared step of a run with history stands."""
    (found,) = (state for state in run.steps or () if state.step == name)
    return found


def step_run(run: Run, name: str, visit: int = 1) -> StepRun:
    """Return one step run of a run with history."""
    (found,) = (s for s in run.step_runs or () if (s.step, s.visit) == (name, visit))
    return found


def path(run: Run) -> list[str]:
    """Return the names of the steps a run with history has entered, in order."""
    return [found.step for found in run.step_runs or ()]


def attempts(run: Run, name: str, visit: int = 1) -> list[tuple[int, str]]:
    """Return number and status of each attempt of a step run."""
    return [(each.number, each.status) for each in step_run(run, name, visit).attempts]


def audit(run: Run) -> list[tuple[str, str | None]]:
    """Return type and step of each audit event."""
    return [(event.type, event.step) for event in run.audit_events or ()]

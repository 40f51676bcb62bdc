"""The application whose processes die, and the world as one of its processes sees it.

No broker takes part: messages wait in the memory of the process and are lost
with it, as with a broker that loses everything whenever a worker dies. Time
stands still until there is nothing left to do, and then moves on to what the
ticker waits for, so nothing here waits in real time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_squidmesh import FrozenClock, Run, SquidMesh, StepContext, Workflow
from flask_squidmesh.dispatch import delivery, ticker
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.store import models
from flask_squidmesh.testing import freeze
from tests.crash.points import Points

_ENOUGH = 500
"""More turns than any shape takes, however often it is killed."""

db = SQLAlchemy()


class Entry(db.Model):  # type: ignore[name-defined, misc]  # Flask-SQLAlchemy makes the base at run time
    """What a step writes. No key is unique: what is written twice must be seen twice."""

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    run_id: orm.Mapped[str] = orm.mapped_column(sa.String(36))
    step: orm.Mapped[str] = orm.mapped_column(sa.String(50))
    key: orm.Mapped[str] = orm.mapped_column(sa.String(200))
    attempt: orm.Mapped[int]


class Order(db.Model):  # type: ignore[name-defined, misc]  # as above
    """What a view writes in the transaction in which it starts a run."""

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    run_id: orm.Mapped[str] = orm.mapped_column(sa.String(36))


def write(context: StepContext, suffix: str = "") -> None:
    """Write an entry in the host's session, and send it to the database."""
    db.session.add(
        Entry(
            run_id=context.run_id,
            step=context.step,
            key=context.idempotency_key + suffix,
            attempt=context.attempt,
        )
    )
    db.session.flush()
    points: Points = current_app.extensions["crash_points"]
    points.reach(f"within {context.step}")


class World:
    """One process of the application."""

    def __init__(self, app: Flask, squidmesh: SquidMesh, clock: FrozenClock, points: Points):
        self.squidmesh = squidmesh
        self.clock = clock
        self._app = app
        self._messages: deque[Ring] = deque()
        state = app.extensions["squidmesh"]
        tell = state.announce

        def announce(news: News) -> None:
            if any(ring.at is None for ring in news.rings):
                points.reach("before a message")
            tell(news)
            self._messages.extend(ring for ring in news.rings if ring.at is None)

        state.announce = announce

    def start(
        self,
        workflow: type[Workflow],
        payload: dict[str, Any] | None = None,
        *,
        key: str = "the one",
    ) -> Run:
        """Start the run, or find it, as a client does who never got an answer."""
        return self.squidmesh.start_run(workflow, payload, idempotency_key=key)

    def runs(self) -> list[Run]:
        """Return all runs with their history, oldest first."""
        page = self.squidmesh.list_runs(limit=500)
        return [self.see(run.id) for run in reversed(page)]

    def see(self, run_id: str) -> Run:
        """Return a run with its history."""
        return self.squidmesh.inspect_run(run_id, include_history=True)

    def tick(self) -> None:
        """Do one round of the ticker."""
        ticker.tick(self._app)

    def work(self) -> None:
        """Act upon messages, and let time pass, until nothing waits for either."""
        for _ in range(_ENOUGH):
            if self._messages:
                ring = self._messages.popleft()
                delivery.work_off(self._app, ring.run_id, ring.step)
                continue
            due = self._next_due()
            if due is None:
                return
            if due > self.clock.now:
                self.clock.advance(seconds=(due - self.clock.now).total_seconds())
            self.tick()
        raise AssertionError(f"still not done after {_ENOUGH} turns: {self._branches()}")

    def _next_due(self) -> datetime | None:
        """Return when the ticker must act next: the only thing a dead process leaves behind."""
        with db.engine.connect() as connection:
            due: datetime | None = connection.scalar(
                sa.select(sa.func.min(models.branches.c.due_at))
            )
            return due

    def _branches(self) -> list[Any]:
        with db.engine.connect() as connection:
            return list(connection.execute(sa.select(models.branches)))


def make_app(url: str, **config: Any) -> tuple[Flask, SquidMesh]:
    """Return a new application with the extension."""
    app = Flask("tests.crash")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config.update({"SQUIDMESH_DISPATCH": "manual", **config})
    db.init_app(app)
    return app, SquidMesh(app, db=db)


@contextmanager
def open_world(
    url: str, workflows: tuple[type[Workflow], ...], at: datetime, points: Points, **config: Any
) -> Iterator[World]:
    """Open the world of a new process at the time *at*."""
    app, squidmesh = make_app(url, **config)
    app.extensions.update(crash_points=points, crash_squidmesh=squidmesh)
    for workflow in workflows:
        squidmesh.register(workflow)
    with app.app_context(), freeze(at) as clock:
        _hurry(db.engine)
        points.watch(db.engine)
        yield World(app, squidmesh, clock, points)


def _hurry(engine: sa.Engine) -> None:
    """Have nobody wait for the disk: only processes die here, and what they wrote survives them."""
    option = {"sqlite": "PRAGMA synchronous = OFF", "postgresql": "SET synchronous_commit = off"}

    def connected(connection: Any, _record: object) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute(option[engine.dialect.name])
        connection.commit()

    sa.event.listen(engine, "connect", connected)


def prepare(url: str) -> None:
    """Create all tables in an empty database."""
    app, _ = make_app(url)
    with app.app_context():
        db.create_all()
        db.engine.dispose()


def empty(url: str) -> None:
    """Forget all rows."""
    app, _ = make_app(url)
    with app.app_context():
        _hurry(db.engine)
        with db.engine.begin() as connection:
            for table in reversed(db.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        db.engine.dispose()

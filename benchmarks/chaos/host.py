"""The application under test: every shape of workflow, all of whose steps write."""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from celery import Celery, Task
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from sqlalchemy import orm

from flask_squidmesh import (
    Retry,
    SquidMesh,
    StepContext,
    StepFailed,
    Workflow,
    approval,
    complete,
    cron,
    fixed,
    log,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh import clock as time
from flask_squidmesh.definition.declarations import Step

LEASE: Final = float(os.environ.get("CHAOS_LEASE", "2"))
"""Seconds after which a silent worker is given up."""

db = SQLAlchemy()


class Entry(db.Model):  # type: ignore[name-defined, misc]  # Flask-SQLAlchemy makes the base at run time
    """What an attempt writes. No key is unique: what is written twice must be seen twice."""

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    run_id: orm.Mapped[str] = orm.mapped_column(sa.Uuid(as_uuid=False), index=True)
    step: orm.Mapped[str] = orm.mapped_column(sa.String(50))
    visit: orm.Mapped[int]
    attempt: orm.Mapped[int]


class Order(db.Model):  # type: ignore[name-defined, misc]  # as above
    """What a view writes in the transaction in which it starts a run."""

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    run_id: orm.Mapped[str] = orm.mapped_column(sa.Uuid(as_uuid=False), unique=True)


def _writing(
    function: Callable[..., Any], *, long: float = 0.0
) -> Callable[..., dict[str, Any] | None]:
    """Return a step function that writes an entry, takes a while, and then does what it does."""
    wanted = inspect.signature(function).parameters

    def work(context: StepContext, **seen: Any) -> dict[str, Any] | None:
        chance = random.Random(f"{context.idempotency_key} {context.attempt}")  # noqa: S311  # a length
        seconds = long or chance.choice((0.0, 0.005, 0.01, 0.02))
        if chance.random() < 0.03:
            seconds += chance.uniform(0.2, LEASE * 1.2)
        # Some hold their transaction open while they take their time, most do not.
        if chance.random() < 0.7:
            time.pause(seconds)
            _write(context)
        else:
            _write(context)
            time.pause(seconds)
        given = {name: seen[name] for name in wanted if name in seen}
        if "context" in wanted:
            given["context"] = context
        result: dict[str, Any] | None = function(**given)
        return result

    return work


def _write(context: StepContext) -> None:
    visit = int(context.idempotency_key.rpartition(":")[2])
    db.session.add(
        Entry(run_id=context.run_id, step=context.step, visit=visit, attempt=context.attempt)
    )
    # Others leave that to the settlement.
    if context.run_id[-1] < "8":
        db.session.flush()


@_writing
def succeed(context: StepContext) -> dict[str, Any]:
    """Leave the step's name in the run's context."""
    return {context.step: True}


@_writing
def fail_twice(context: StepContext) -> dict[str, Any]:
    """Fail in the first two attempts."""
    if context.attempt < 3:
        raise OSError("not yet")
    return {context.step: True}


@_writing
def fail() -> None:
    """Fail for good."""
    raise StepFailed("never", code="never")


@_writing
def count_up(turns: int = 0) -> dict[str, Any]:
    """Count the turns of a loop."""
    return {"turns": turns + 1}


@_writing
def leave_after_four(turns: int) -> None:
    """Lead out of a loop in its fourth turn."""
    if turns == 4:
        raise StepFailed("enough", code="enough")


def _takes(seconds: float) -> Callable[..., Any]:
    return _writing(lambda context: {context.step: True}, long=seconds)


# What a step raises is its failure, also when it is the database that is away; and every loss
# of a worker counts. Here both happen often, and none may be the last time.
_PATIENT: Final = Retry(10_000, fixed(0.2))


def _step(function: Callable[..., Any], **options: Any) -> Step:
    return step(function, **{"retry": _PATIENT, **options})


class Straight(Workflow):
    """One step after the other."""

    go = manual()
    load = _step(succeed)
    tell = log("loaded", level="debug")
    price = _step(succeed)
    ship = _step(succeed)
    transitions = (load >> tell >> price >> ship >> complete,)


class Ordered(Workflow):
    """Started in the transaction of a view."""

    go = manual()
    load = _step(succeed)
    ship = _step(succeed)
    transitions = (load >> ship >> complete,)


class Retried(Workflow):
    """Steps that fail before they succeed, with a delay and without."""

    go = manual()
    patient = _step(fail_twice)
    hasty = _step(fail_twice, retry=Retry(10_000))
    transitions = (patient >> hasty >> complete,)


class Failing(Workflow):
    """Fails."""

    go = manual()
    work = _step(fail)
    transitions = (work >> complete,)


class Rescued(Workflow):
    """A failure that leads elsewhere."""

    go = manual()
    risky = _step(fail)
    credit = _step(succeed)
    transitions = (risky >> complete, risky.on_error(credit), credit >> complete)


class Waiting(Workflow):
    """A timer between two steps."""

    go = manual()
    before = _step(succeed)
    timer = wait(seconds=1)
    after = _step(succeed)
    transitions = (before >> timer >> after >> complete,)


class Held(Workflow):
    """A pause between two steps."""

    go = manual()
    before = _step(succeed)
    hold = pause()
    after = _step(succeed)
    transitions = (before >> hold >> after >> complete,)


class Reviewed(Workflow):
    """An approval, with a step on either route."""

    go = manual(answer=fields.String(required=True))
    before = _step(succeed)
    review = approval(output="decision")
    ship = _step(succeed)
    refund = _step(succeed)
    transitions = (
        before >> review >> ship >> complete,
        review.on_error(refund),
        refund >> complete,
    )


class Joined(Workflow):
    """Roots that start together, and steps that wait for one or all of them."""

    go = manual()
    left = _step(succeed)
    right = _step(fail_twice)
    middle = _step(succeed)
    aside = _step(succeed, after=[left])
    both = _step(succeed, after=[left, right, middle])


class Looping(Workflow):
    """A loop of four turns."""

    go = manual()
    turn = _step(count_up)
    check = _step(leave_after_four)
    done = _step(succeed)
    transitions = (turn >> check >> turn, check.on_error(done), done >> complete)


class Unwanted(Workflow):
    """Is cancelled sooner or later: while a step executes, or while it waits."""

    go = manual()
    before = _step(_takes(0.3))
    timer = wait(seconds=86_400)
    never = _step(succeed)
    transitions = (before >> timer >> never >> complete,)


class Slow(Workflow):
    """A step that takes longer than a lease."""

    go = manual()
    work = _step(_takes(LEASE * 1.6))
    transitions = (work >> complete,)


class Minutely(Workflow):
    """Started by the clock."""

    minutely = cron("* * * * *", catch_up="all")
    work = _step(succeed)
    transitions = (work >> complete,)


WORKFLOWS: Final[tuple[type[Workflow], ...]] = (
    *(Straight, Ordered, Retried, Failing, Rescued, Waiting, Held, Reviewed),
    *(Joined, Looping, Unwanted, Slow, Minutely),
)

Path = Mapping[tuple[str, int], str]
"""How each step run of a run must end, by its step and visit."""


def expected(workflow: str, payload: Mapping[str, Any]) -> tuple[str, Path | None]:
    """Return the status and the path that a run must end with; no path where several are right."""
    if workflow == Unwanted.name:
        return "cancelled", None
    if workflow == Reviewed.name:
        then = "ship" if payload["answer"] == "approve" else "refund"
        return "completed", _once("before", "review", then)
    if workflow == Looping.name:
        turns = {(name, turn): "completed" for name in ("turn", "check") for turn in range(1, 5)}
        return "completed", {**turns, ("check", 4): "failed", ("done", 1): "completed"}
    if workflow == Failing.name:
        return "failed", {("work", 1): "failed"}
    if workflow == Rescued.name:
        return "completed", {("risky", 1): "failed", ("credit", 1): "completed"}
    named = {each.name: each for each in WORKFLOWS}[workflow]
    return "completed", _once(*(spec.name for spec in named.definition.steps))


def _once(*steps: str) -> Path:
    return {(name, 1): "completed" for name in steps}


def create_app() -> tuple[Flask, SquidMesh, Celery]:
    """Return the application on the database and the broker that the environment names."""
    app = Flask("chaos")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ["CHAOS_DATABASE_URL"],
        SQLALCHEMY_ENGINE_OPTIONS={"pool_size": 5, "max_overflow": 10},
        SQUIDMESH_LEASE_TTL=LEASE,
        SQUIDMESH_TICK_INTERVAL=0.5,
        SQUIDMESH_INLINE_BUDGET=0.1,
        SQUIDMESH_MAX_LOST_ATTEMPTS=10_000,
    )
    db.init_app(app)

    class InContext(Task):  # type: ignore[misc]  # Celery has no types
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery("chaos", task_cls=InContext)
    celery.conf.update(
        broker_url=os.environ["CHAOS_BROKER_URL"],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
    )
    celery.set_default()
    app.extensions["celery"] = celery
    squidmesh = SquidMesh(app, db=db, workflows=WORKFLOWS)
    return app, squidmesh, celery

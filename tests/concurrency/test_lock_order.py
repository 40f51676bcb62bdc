"""One order of locks: the run's row in `run_states`, then its branches, then the rest.

For every pair of operations, one is held after each of its statements in turn,
with all the locks it has by then, while the other runs until it is through or
has to wait; then the first goes on. Two operations that take two locks in
opposite orders meet in one of these places, and PostgreSQL ends one of them
with a deadlock: the engine would repeat it and nobody would notice, so the
tests listen to what the database says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations_with_replacement
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    InvalidTransition,
    RunNotFound,
    Workflow,
    approval,
    complete,
    manual,
    step,
)
from flask_squidmesh.clock import wait_until
from flask_squidmesh.current import state
from flask_squidmesh.engine import claim, lease, settle, tick
from flask_squidmesh.engine.memory import Held
from flask_squidmesh.engine.perform import Performed
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.ids import new_id
from flask_squidmesh.lifecycle.facts import Succeeded
from flask_squidmesh.store import runs, transaction
from flask_squidmesh.store.models import branches
from tests.contract.host import World, db
from tests.crash.invariants import violations

SOON = 30.0
MOST_STATEMENTS = 40


class Fan(Workflow):
    """Has four branches at once, and a join."""

    go = manual()
    settled = step(lambda: None)
    expired = step(lambda: None)
    early = step(lambda: None)
    late = step(lambda: None)
    join = step(lambda: None, after=[settled, expired, early, late])


class Signing(Workflow):
    """Stands at an approval after one step."""

    go = manual()
    settled = step(lambda: None)
    review = approval(output="decision")
    after = step(lambda: None)
    transitions = [settled >> review >> after >> complete, review.on_error(after)]


@dataclass
class Actor:
    """An operation in a thread of its own; held after its statement number `hold_after`."""

    call: Callable[[], Any]
    hold_after: int | None = None
    statements: int = 0
    pid: int | None = None
    held: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class Stage:
    """Knows what every actor's connection does, and whether the database speaks of deadlocks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.deadlocks: list[str] = []
        self._actors: dict[int, Actor] = {}
        self._pool = ThreadPoolExecutor(2)

    @contextmanager
    def listening(self) -> Iterator[None]:
        listeners: list[tuple[str, Callable[..., None]]] = [
            ("before_cursor_execute", self._before),
            ("after_cursor_execute", self._after),
            ("handle_error", self._error),
        ]
        for name, listener in listeners:
            sa.event.listen(db.engine, name, listener)
        try:
            yield
        finally:
            self._pool.shutdown()
            for name, listener in listeners:
                sa.event.remove(db.engine, name, listener)

    def start(self, actor: Actor) -> Future[Any]:
        def act() -> Any:
            self._actors[threading.get_ident()] = actor
            try:
                with self.world.app.app_context():
                    return actor.call()
            except (InvalidTransition, RunNotFound):
                return None  # the other one was first
            finally:
                self._actors.pop(threading.get_ident(), None)
                actor.done.set()

        return self._pool.submit(act)

    def is_waiting(self, actor: Actor) -> bool:
        """Return whether the database lets *actor* wait for a lock."""
        if actor.pid is None:
            return False
        query = sa.text("SELECT cardinality(pg_blocking_pids(:pid)) > 0")
        with db.engine.connect() as connection:
            return bool(connection.execute(query, {"pid": actor.pid}).scalar())

    def _before(self, connection: sa.Connection, *_: object) -> None:
        actor = self._actors.get(threading.get_ident())
        if actor is not None:
            driver: Any = connection.connection.dbapi_connection
            actor.pid = driver.info.backend_pid

    def _after(self, *_: object) -> None:
        actor = self._actors.get(threading.get_ident())
        if actor is None:
            return
        actor.statements += 1
        if actor.statements == actor.hold_after:
            actor.held.set()
            assert actor.may_go_on.wait(SOON)

    def _error(self, context: sa.engine.ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == "40P01":
            self.deadlocks.append(str(context.statement))


@pytest.fixture
def stage(world: World) -> Iterator[Stage]:
    world.squidmesh.register(Fan)
    world.squidmesh.register(Signing)
    made = Stage(world)
    with made.listening():
        yield made


def runtime() -> Runtime:
    return state().engine()._runtime


def claimed(run_id: str, name: str) -> Held:
    """Claim a step as a worker does, and return the claim."""
    held = claim.take(runtime(), run_id, name).held
    assert held is not None
    return held


def make_due(run_id: str, **names: float) -> None:
    """Let the ticker be due at these branches of the run since so many seconds."""
    with db.engine.begin() as connection:
        now = connection.scalar(sa.func.clock_timestamp())
        for name, seconds in names.items():
            connection.execute(
                sa.update(branches)
                .where(branches.c.run_id == run_id, branches.c.step == name)
                .values(due_at=now - timedelta(seconds=seconds))
            )


class Scenery:
    """One run, and the operations that may be tried on it; `between` says what comes before."""

    def __init__(self, world: World, workflow: type[Workflow]) -> None:
        key = new_id()
        self.world = world
        self.workflow = workflow
        self.key = key
        self.run_id = world.squidmesh.start_run(workflow, idempotency_key=key).id
        self.held = claimed(self.run_id, "settled")
        if workflow is Fan:
            claimed(self.run_id, "expired")
            # The ticker comes to the branches in another order than the run has them in.
            make_due(self.run_id, expired=1, early=2, late=3)
        else:
            self.settle()

    def settle(self) -> None:
        settle.settle(runtime(), self.held, Performed(Succeeded()), go_on=False)

    def pass_on(self) -> None:
        """End a branch and go on with another, in the transaction of what the step wrote."""
        db.session.execute(sa.select(1))
        settle.settle(runtime(), self.held, Performed(Succeeded()), go_on=True)

    def cancel(self) -> None:
        self.world.squidmesh.cancel_run(self.run_id)

    def decide(self) -> None:
        self.world.squidmesh.approve_run(self.run_id, actor="somebody")

    def abandon(self) -> None:
        tick.expire(runtime())

    def tick(self) -> None:
        state().engine().tick()

    def start(self) -> None:
        self.world.squidmesh.start_run(self.workflow, idempotency_key=self.key)

    def replay(self) -> None:
        self.world.squidmesh.replay_run(self.run_id, actor="somebody")

    def claim(self) -> None:
        claim.take(runtime(), self.run_id, "early" if self.workflow is Fan else "after")

    def renew(self) -> None:
        lease.renew(runtime(), self.held)


OPERATIONS = (
    *("settle", "pass_on", "cancel", "decide", "abandon", "tick", "start", "replay"),
    *("claim", "renew"),
)


def meet(stage: Stage, first: Actor, second: Actor) -> bool:
    """Let *second* run while *first* is held; return whether there was a statement to hold at."""
    one = stage.start(first)
    assert wait_until(lambda: first.held.is_set() or first.done.is_set(), timeout=SOON, interval=0)
    if not first.held.is_set():
        one.result(SOON)
        return False
    two = stage.start(second)
    met = wait_until(
        lambda: second.done.is_set() or stage.is_waiting(second), timeout=SOON, interval=0.002
    )
    first.may_go_on.set()
    one.result(SOON)
    two.result(SOON)
    assert met
    return True


@pytest.mark.parametrize(
    ("one", "other"),
    list(combinations_with_replacement(OPERATIONS, 2)),
    ids=lambda name: name,
)
def test_two_operations_never_wait_for_each_other(stage: Stage, one: str, other: str):
    workflow = Signing if "decide" in (one, other) else Fan
    places = 0
    for first, second in {(one, other), (other, one)}:
        for number in range(1, MOST_STATEMENTS):
            scenery = Scenery(stage.world, workflow)
            held = Actor(getattr(scenery, first), hold_after=number)
            if not meet(stage, held, Actor(getattr(scenery, second))):
                break
            places += 1
            assert stage.deadlocks == [], f"{second} met {first} after its statement {number}"
        else:
            pytest.fail(f"{first} has more than {MOST_STATEMENTS} statements")
    assert places
    print(f"{one} and {other} met in {places} places")
    with db.engine.connect() as connection:
        assert violations(connection, [Fan, Signing], at_the_end=False) == []


def test_broken_order_is_noticed(stage: Stage):
    """The same with an operation that takes a branch before the run's lock."""

    def wrong(scenery: Scenery) -> None:
        def work(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(branches)
                .where(branches.c.run_id == scenery.run_id, branches.c.step == "early")
                .values(worker="wrong")
            )
            runs.lock(connection, scenery.run_id)

        transaction.run(db.engine, work)

    scenery = Scenery(stage.world, Fan)
    meet(stage, Actor(lambda: wrong(scenery), hold_after=1), Actor(scenery.cancel))
    assert stage.deadlocks


def test_ticker_waits_for_nobody(stage: Stage):
    """Who holds a run's lock may be frozen; all other runs are looked after meanwhile."""
    frozen, other = Scenery(stage.world, Fan), Scenery(stage.world, Fan)
    cancelling = Actor(frozen.cancel, hold_after=1)
    first = stage.start(cancelling)
    assert cancelling.held.wait(SOON)
    result, news = state().engine().tick()
    assert result.expired == 1
    assert {ring.run_id for ring in news.rings} >= {other.run_id}
    cancelling.may_go_on.set()
    first.result(SOON)
    assert stage.world.see(frozen.run_id).status in {"cancelling", "cancelled"}

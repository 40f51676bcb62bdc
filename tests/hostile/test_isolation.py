"""Stricter isolation than READ COMMITTED: conflicts are repeated where that is safe, else named."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import Retry, SquidMesh, Workflow, complete, fixed, manual, step
from flask_squidmesh.testing import deliver
from tests.contract import host
from tests.contract.host import Note, World, attempts, db, notes, single, step_state, write

LEVELS = ["REPEATABLE READ", "SERIALIZABLE"]


@pytest.fixture(scope="module")
def shared_url(postgres_databases):
    url = postgres_databases.create(host.prepare)
    yield url
    postgres_databases.drop(url)


@pytest.fixture(params=LEVELS)
def world(request, url):
    """An application whose engine has the level by default."""
    strict = Flask("tests.isolation")
    strict.config.update(
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS={"isolation_level": request.param},
        SQUIDMESH_DISPATCH="manual",
    )
    db.init_app(strict)
    squidmesh = SquidMesh(strict, db=db)
    with strict.app_context():
        yield World(strict, squidmesh)
        db.session.remove()
        db.engine.dispose()


def level() -> str:
    found = db.session.execute(sa.text("SHOW transaction_isolation")).scalar_one()
    return str(found).upper()


def test_runs_are_executed_as_usual(world, request):
    class Usual(Workflow):
        go = manual()
        one = step(lambda: write("one"))
        two = step(lambda: {"level": level()})
        three = step(lambda: None, retry=Retry(2, fixed(1)))
        transitions = [one >> two >> three >> complete]

    run = world.run(Usual)
    assert (run.status, notes()) == ("completed", ["one"])
    assert run.context["level"] == request.node.callspec.params["world"]


def test_branches_that_end_together_are_all_recorded(world):
    """They change the same rows at the same time, and the database refuses all but one."""
    width = 6
    together = threading.Barrier(width)
    names = [f"branch_{number}" for number in range(width)]

    def work():
        together.wait(30)

    body = {"go": manual()} | {name: step(work) for name in names}
    body["join"] = step(lambda: None, after=names)
    workflow = type("Fan", (Workflow,), body)
    run_id = world.start(workflow)

    def deliver_it(name):
        with world.app.app_context():
            return deliver(run_id, name)

    with ThreadPoolExecutor(width) as pool:
        assert list(pool.map(deliver_it, names)) == ["executed"] * width
    run = world.go(run_id)
    assert run.status == "completed"
    assert all(attempts(run, name) == [(1, "completed")] for name in names)


def change_elsewhere() -> None:
    """Commit a change to what the step has read and is about to change."""
    with db.engine.connect().execution_options(isolation_level="READ COMMITTED") as other:
        other.execute(sa.update(Note).values(text=Note.text + "!"))
        other.commit()


def read_and_change(*, conflict: bool) -> None:
    note = db.session.execute(sa.select(Note)).scalar_one()
    if conflict:
        change_elsewhere()
    note.text += "?"


def test_conflict_of_the_steps_own_writes_is_tried_again(world):
    """The database refuses them when they are sent: nothing is kept, as if the worker had died."""
    write("a")
    db.session.commit()

    def work(context):
        read_and_change(conflict=context.attempt == 1)

    run = world.run(single(work))
    assert (run.status, notes()) == ("completed", ["a!?"])
    assert attempts(run, "work") == [(1, "abandoned"), (2, "completed")]


def test_step_that_goes_on_conflicting_fails_with_what_the_database_says(world):
    write("a")
    db.session.commit()
    run = world.run(single(lambda: read_and_change(conflict=True)))
    last = step_state(run, "work").last_error
    assert last is not None
    assert (run.status, last["code"]) == ("failed", "worker_lost")
    assert "could not serialize access" in last["message"]
    assert {status for _, status in attempts(run, "work")} == {"abandoned"}
    assert notes() == ["a" + "!" * len(attempts(run, "work"))]


def test_step_that_may_run_once_only_is_not_tried_again(world):
    write("a")
    db.session.commit()
    run = world.run(single(lambda: read_and_change(conflict=True), at_most_once=True))
    assert (run.status, attempts(run, "work")) == ("failed", [(1, "abandoned")])
    assert notes() == ["a!"]


def test_lease_renewed_under_an_open_transaction_costs_the_attempt(world):
    """The snapshot of the step is older than the renewal: its own row has changed for it.

    What is promised holds, but no long step can use `db.session` like this:
    the guide says so.
    """

    def work(context):
        db.session.execute(sa.select(Note)).all()
        write("kept")
        if context.attempt == 1:
            assert context.heartbeat()

    run = world.run(single(work))
    assert (run.status, notes()) == ("completed", ["kept"])
    assert attempts(run, "work") == [(1, "abandoned"), (2, "completed")]


def test_branches_that_write_and_end_together_are_all_recorded(world):
    """Settled in transactions of the host's, whose snapshots are older than each other's ends."""
    width = 4
    together = threading.Barrier(width)

    def work(context):
        db.session.execute(sa.select(Note)).all()
        write(f"{context.step} {context.attempt}")
        if context.attempt == 1:
            together.wait(30)

    names = [f"branch_{number}" for number in range(width)]
    body = {"go": manual(), "root": step(lambda: None)}
    body |= {name: step(work, after=["root"]) for name in names}
    workflow = type("Writers", (Workflow,), body)
    run_id = world.start(workflow)
    assert deliver(run_id, "root") == "executed"

    def deliver_it(name):
        with world.app.app_context():
            return deliver(run_id, name)

    with ThreadPoolExecutor(width) as pool:
        assert list(pool.map(deliver_it, names)) == ["executed"] * width
    run = world.go(run_id)
    assert run.status == "completed"
    # Who was too late did it again; nobody has failed, and nothing is there twice.
    assert all(attempts(run, name)[-1][1] == "completed" for name in names)
    assert sorted(text.split()[0] for text in notes()) == names

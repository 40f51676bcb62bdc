"""What one statement does leaves the same rows and the same news as one after the other.

A process starts its first run of a definition statement by statement, since it
stores the definition, too; the next ones at once where the database can. A
first claim is made at once when the definition is that of today's code, alone or
with the end of the run before. Time stands still, so the rows must be equal but
for the ids.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from marshmallow import fields

from flask_squidmesh import IdempotencyConflict, Workflow, complete, log, manual, step
from flask_squidmesh.current import state
from flask_squidmesh.definition.registry import Registry
from flask_squidmesh.engine.beginnings import Beginnings
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.store import models
from tests.contract.host import db

TABLES = (models.runs, models.run_states, models.branches)


class Order(Workflow):
    go = manual(number=fields.Integer(required=True))
    first = step(lambda number: {"first": number})
    second = step(lambda first: {"second": first})
    transitions = [first >> second >> complete]


class Noted(Workflow):
    go = manual()
    first = log("begun")
    transitions = [first >> complete]


def rows(run_id):
    """Return what is stored about a run, but for its id."""
    found = []
    with db.engine.connect() as connection:
        for table in TABLES:
            key = table.c.id if table is models.runs else table.c.run_id
            mine = connection.execute(sa.select(table).where(key == run_id)).mappings()
            found += [{name: row[name] for name in row if row[name] != run_id} for row in mine]
    return found


def told(news):
    """Return news without the id of the run."""
    notices = [(n.name, {**n.values, "run_id": None}) for n in news.notices]
    return notices, [(ring.step, ring.at) for ring in news.rings]


def start(workflow, payload):
    run, news = state().engine().start_run(workflow, payload, trigger=None, idempotency_key=None)
    return run, told(news)


def claim(run_id, name, *, commits=1, other_runs=False):
    """Deliver one message and stop after so many commits; return the news of each."""
    heard = []

    class Stop(Exception):
        pass

    def stop(news):
        heard.append(told(news))
        if len(heard) == commits:
            raise Stop

    with pytest.raises(Stop):
        state().engine().deliver(
            run_id, name, may_continue=lambda: True, after_commit=stop, other_runs=other_runs
        )
    return heard


CASES = [(Order, {"number": 7}), (Noted, None)]


@pytest.mark.parametrize(("workflow", "payload"), CASES)
def test_start_at_once_leaves_the_same_rows(world, clock, workflow, payload):
    world.squidmesh.register(workflow)
    (by_steps, told_first), (at_once, told_next) = (start(workflow, payload) for _ in range(2))
    assert rows(at_once.id) == rows(by_steps.id)
    assert len(rows(at_once.id)) == len(TABLES)
    assert told_next == told_first
    assert {**at_once.to_dict(), "id": None} == {**by_steps.to_dict(), "id": None}
    assert at_once == world.squidmesh.inspect_run(at_once.id)


@pytest.mark.parametrize(("workflow", "payload"), CASES)
def test_first_claim_at_once_leaves_the_same_rows(world, clock, workflow, payload):
    at_once, by_steps = (world.start(workflow, payload) for _ in range(2))
    clock.advance(seconds=3)
    heard = claim(at_once, "first")
    # A process whose code knows no beginning takes the general path.
    state().engine()._runtime.beginnings = Beginnings(Registry())
    assert claim(by_steps, "first") == heard
    assert rows(at_once) == rows(by_steps)
    assert [row["status"] for row in rows(at_once)[1:]] == ["running", "running"]


@pytest.mark.parametrize(("workflow", "payload"), CASES)
def test_first_claim_with_the_end_of_another_run_leaves_the_same_rows(
    world, clock, workflow, payload
):
    if db.engine.dialect.name != "postgresql":
        pytest.skip("a statement is about one run here")
    ending = [world.start(Noted) for _ in range(2)]
    with_the_end, alone = (world.start(workflow, payload) for _ in range(2))
    clock.advance(seconds=3)
    heard = claim(alone, "first")[0]
    ended = claim(ending[0], "first", commits=2)[1]
    state().engine()._runtime.backlog.give_back(Ring(with_the_end, "first", begins=True))
    both = claim(ending[1], "first", commits=2, other_runs=True)[1]
    assert rows(with_the_end) == rows(alone)
    assert rows(ending[1]) == rows(ending[0])
    assert both == (ended[0] + heard[0], ended[1] + heard[1])


@pytest.mark.parametrize("session", [False, True])
def test_start_at_once_finds_what_holds_its_key(world, session):
    world.start(Order, {"number": 1})
    options = {"session": db.session} if session else {}
    keyed = [
        world.squidmesh.start_run(Order, {"number": 2}, idempotency_key="k", **options)
        for _ in range(2)
    ]
    assert keyed[0].id == keyed[1].id
    with pytest.raises(IdempotencyConflict):
        world.squidmesh.start_run(Order, {"number": 3}, idempotency_key="k", **options)
    db.session.commit()
    assert world.count_runs() == 2

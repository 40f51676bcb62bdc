"""What a straight run costs: a message and `n + 1` commits, and another one to start it.

On PostgreSQL each of them is a single statement, which is its own transaction.
Elsewhere a step costs four statements in one transaction.

The engine's documentation states these numbers; this is where they are counted.
"""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from marshmallow import fields

from flask_squidmesh import Workflow, complete, manual, step
from flask_squidmesh.current import state
from flask_squidmesh.definition import inputs
from flask_squidmesh.engine.news import Ring
from tests.contract.host import db, notes, write

STEPS = 5


class Straight(Workflow):
    go = manual()
    one = step(lambda: {"one": 1})
    two = step(lambda: {"two": 2})
    three = step(lambda: {"three": 3})
    four = step(lambda: {"four": 4})
    five = step(lambda: {"five": 5})
    transitions = [one >> two >> three >> four >> five >> complete]


class Named(Workflow):
    go = manual(number=fields.Integer(required=True))
    one = step(lambda number: {"one": number + 1})
    two = step(lambda one, other=3: {"two": one + other}, input=["one"])
    three = step(
        lambda value, number: {"total": value + number}, input={"value": "two", "number": "number"}
    )
    transitions = [one >> two >> three >> complete]


class Writing(Workflow):
    go = manual()
    one = step(lambda: write("one"))
    two = step(lambda: write("two"))
    transitions = [one >> two >> complete]


def shape(statement):
    """Return verb and table of a statement: `update branches`."""
    found = re.search(r"(?is)^\s*(\w+).*?\bsquidmesh_(\w+)", statement)
    return f"{found[1].lower()} {found[2]}" if found else statement.split()[0].lower()


@pytest.fixture
def traffic(world):
    """Everything the engine says to the database, with its commits, from when it is asked for."""
    said = []

    def statement(connection, _cursor, text, _parameters, _context, many):
        assert not many
        said.append(shape(text))
        if getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
            said.append("commit")

    def commit(_connection):
        said.append("commit")

    sa.event.listen(db.engine, "before_cursor_execute", statement)
    sa.event.listen(db.engine, "commit", commit)
    yield said
    sa.event.remove(db.engine, "before_cursor_execute", statement)
    sa.event.remove(db.engine, "commit", commit)


def one_message(run_id, step_name, *, other_runs=False):
    """Do what one message does when it has time for all it finds; return the rings it left."""
    rings: list[Ring] = []
    here = state()
    word = here.engine().deliver(
        run_id,
        step_name,
        may_continue=lambda: True,
        after_commit=lambda news: rings.extend(news.rings),
        other_runs=other_runs,
    )
    assert word == "executed"
    return rings


def by_commit(said):
    """Return the statements of each transaction that was committed."""
    units: list[list[str]] = [[]]
    for word in said:
        if word == "commit":
            units.append([])
        else:
            units[-1].append(word)
    assert units.pop() == []
    return units


def is_postgresql():
    return db.engine.dialect.name == "postgresql"


@pytest.fixture
def lock(world):
    """How the run is locked: SQLite has no row locks, so there it is an update."""
    return "update run_states" if db.engine.dialect.name == "sqlite" else "select run_states"


def test_straight_run_of_n_steps_costs_one_message_and_n_plus_1_commits(world, traffic):
    run_id = world.start(Straight)
    traffic.clear()
    rings = one_message(run_id, "one")
    assert (traffic.count("commit"), rings) == (STEPS + 1, [])
    assert world.see(run_id).status == "completed"


def test_run_after_another_costs_as_many_statements_as_it_has_steps_on_postgresql(world, traffic):
    if not is_postgresql():
        pytest.skip("a statement is about one run here")
    first, second = (world.start(Straight) for _ in range(2))
    state().engine()._runtime.backlog.give_back(Ring(second, "one", begins=True))
    traffic.clear()
    assert one_message(first, "one", other_runs=True) == []
    assert by_commit(traffic)[1:] == [["with run_states"]] * (2 * STEPS)
    assert world.see(second).status == "completed"


def test_each_step_costs_one_statement_on_postgresql_and_four_elsewhere(world, traffic, lock):
    run_id = world.start(Straight)
    traffic.clear()
    one_message(run_id, "one")
    _, *settlements = by_commit(traffic)
    history = ["insert attempts", "insert step_runs"]
    moving_on = [lock, "update branches", *history]
    ending = [lock, "delete branches", *history, "update run_states"]
    if is_postgresql():
        moving_on = ending = ["with run_states"]
    assert settlements[:-1] == [moving_on] * (STEPS - 1)
    assert settlements[-1] == ending


def test_first_claim_costs_one_statement_on_postgresql(world, traffic):
    run_id = world.start(Straight)
    # What a process looks up once: the definition.
    one_message(world.squidmesh.start_run(Straight).id, "one")
    traffic.clear()
    one_message(run_id, "one")
    claim = by_commit(traffic)[0]
    elsewhere = [
        "update run_states",
        "select runs",
        "select branches",
        "update branches",
        "update run_states",
        "select attempts",
    ]
    assert claim == (["with run_states"] if is_postgresql() else elsewhere)


def test_a_step_costs_the_same_in_a_long_run(world, traffic):
    def turn(n=0):
        if n == 40:
            raise OSError
        return {"n": n + 1}

    class Long(Workflow):
        go = manual()
        work = step(turn)
        transitions = [work >> work, work.on_error(complete)]

    run_id = world.start(Long)
    traffic.clear()
    one_message(run_id, "work")
    _, *settlements, _ = by_commit(traffic)
    assert len(settlements) == 40
    assert settlements == [settlements[0]] * 40


def test_a_step_that_names_what_it_needs_is_given_no_copy_of_the_rest(world, monkeypatch):
    """In a run of a thousand steps that would be a thousand outputs, for each of them."""

    def refuse(*_):
        raise AssertionError("the whole state was put together")

    run_id = world.start(Named, {"number": 1})
    with monkeypatch.context() as patched:
        patched.setattr(inputs, "visible", refuse)
        one_message(run_id, "one")
    run = world.see(run_id)
    assert (run.status, run.context["total"]) == ("completed", 6)


def test_a_branch_of_a_fan_out_costs_one_statement_on_postgresql_and_ten_elsewhere(
    world, lock, request
):
    class Fan(Workflow):
        go = manual()
        first = step(lambda: None)
        second = step(lambda: None)
        third = step(lambda: None)
        fourth = step(lambda: None)
        join = step(lambda: None, after=[first, second, third, fourth])

    run_id = world.start(Fan)
    traffic = request.getfixturevalue("traffic")
    rings = one_message(run_id, "first")
    _, *settlements = by_commit(traffic)
    facts = ["select attempts", "select branches", "select joins"]
    ending = ["delete branches", "insert attempts", "insert step_runs", "update joins"]
    passing_on = [lock, *facts, *ending, "select branches", "update branches"]
    in_vain = 0
    if db.engine.dialect.name == "postgresql":
        passing_on = ["with run_states"]
        in_vain = 1
    # With the last branch the join begins, which the one statement leaves to the others.
    passed, (_, _) = settlements[:-2], settlements[-2:]
    assert passed == [passing_on] * (3 + in_vain)
    # What this process has registered it need not read, however wide it is.
    assert "select definitions" not in traffic
    assert rings == []
    assert world.see(run_id).status == "completed"


def test_starting_a_run_costs_one_commit(world, traffic):
    world.start(Straight)
    first = list(traffic)
    traffic.clear()
    world.squidmesh.start_run(Straight)
    inserts = ["insert runs", "insert run_states", "insert branches", "commit"]
    assert [word for word in first if word != "select"] == ["insert definitions", *inserts]
    assert traffic == (["with runs", "commit"] if is_postgresql() else inserts)


def test_starting_a_run_in_the_host_s_transaction_adds_one_statement_on_postgresql(world, traffic):
    world.start(Straight, session=db.session)
    db.session.rollback()
    world.start(Straight, session=db.session)
    db.session.commit()
    assert traffic.count("insert definitions") == 2
    traffic.clear()
    write("before")
    world.start(Straight, session=db.session)
    db.session.commit()
    inserts = ["insert runs", "insert run_states", "insert branches"]
    started = ["with runs"] if is_postgresql() else inserts
    assert [word for word in traffic if word != "select"] == ["insert", *started, "commit"]


def test_writes_of_a_step_share_its_commit(world, traffic):
    run_id = world.start(Writing)
    traffic.clear()
    one_message(run_id, "one")
    units = by_commit(traffic)
    assert len(units) == 3
    settled = "with run_states" if is_postgresql() else "insert step_runs"
    assert all("insert" in unit and settled in unit for unit in units[1:])
    assert notes() == ["one", "two"]

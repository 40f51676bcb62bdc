"""Pages of runs cost the same however many runs there are, whatever the filters."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from marshmallow import fields

from benchmarks import history
from benchmarks.specimens import WORKFLOWS
from flask_squidmesh import Workflow, complete, cron, manual, step
from flask_squidmesh.engine.keep import LONG
from flask_squidmesh.ids import new_id
from flask_squidmesh.store import runs as store
from flask_squidmesh.store.models import contexts, run_states, runs, step_runs
from flask_squidmesh.testing import freeze, run_until_idle, tick
from tests.contract import host
from tests.contract.host import db, make_world
from tests.load.plans import read_by

RUNS = 3_000
LIMIT = 10
UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
FILTERS = [
    {
        name: value
        for name, value in zip(("workflow", "status", "trigger"), values, strict=True)
        if value
    }
    for values in itertools.product(
        (None, "order_fulfilment", "hourly_digest", "nobody"),
        (None, "completed", "failed", "paused"),
        (None, "shop", "upload"),
    )
]
MERGED = [f for f in FILTERS if ("workflow" in f) != ("trigger" in f)]


@pytest.fixture(scope="module")
def full_url(databases):
    """A database with the finished runs of two years."""
    url = databases.create(host.prepare)
    with make_world(url):
        history.seed(db.engine, runs=RUNS, until=UNTIL)
    yield url
    databases.drop(url)


@pytest.fixture
def world(open_world):
    """An application with an empty database."""
    return open_world()


@pytest.fixture
def squidmesh(full_url):
    with make_world(full_url) as opened:
        for workflow in WORKFLOWS:
            opened.squidmesh.register(workflow)
        yield opened.squidmesh


def matching(filters):
    """Return the ids of all runs that pass, newest first, without any of our statements."""
    where = [column(name) == value for name, value in filters.items()]
    query = sa.select(runs.c.id).join(run_states, run_states.c.run_id == runs.c.id).where(*where)
    with db.engine.connect() as connection:
        found = connection.scalars(query.order_by(runs.c.created_at.desc(), runs.c.id.desc()))
        return list(found)


def column(name):
    return run_states.c.status if name == "status" else runs.c[name]


def pages(squidmesh, filters, *, limit):
    after = None
    while True:
        page = squidmesh.list_runs(**filters, limit=limit, after=after)
        yield page
        after = page.next
        if after is None:
            return


def test_every_combination_of_filters_finds_what_there_is(squidmesh):
    for filters in FILTERS:
        wanted = matching(filters)
        found = [run.id for page in pages(squidmesh, filters, limit=500) for run in page]
        assert found == wanted, filters
    assert {len(matching(filters)) > 0 for filters in FILTERS} == {True, False}


def test_pages_follow_each_other_without_a_gap(squidmesh):
    for filters in ({}, {"trigger": "upload"}, {"status": "failed", "trigger": "upload"}):
        some = itertools.islice(pages(squidmesh, filters, limit=7), 12)
        found = [run.id for page in some for run in page]
        assert found == matching(filters)[: len(found)]
        assert len(found) > 50


@contextmanager
def executing():
    """Note the statements that are executed within the block, with their values."""
    executed = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        executed.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)


def test_a_page_is_four_statements_at_most(squidmesh):
    for filters in FILTERS:
        squidmesh.list_runs(**filters)
        with executing() as executed:
            squidmesh.list_runs(**filters)
        # Of finished runs nobody asks where they stand: the page, contexts that are kept and
        # outputs of the others, and before them what the open one of workflow and trigger may be.
        assert len(executed) <= 3 + (filters in MERGED), filters


@pytest.mark.parametrize("after", [0, RUNS // 10], ids=["first", "following"])
def test_a_page_reads_no_more_rows_than_it_needs(squidmesh, full_url, after):
    """Found by an index, and never by looking through what does not match."""
    cursor = squidmesh.list_runs(limit=after).next if after else None
    for filters in FILTERS:
        with executing() as executed:
            squidmesh.list_runs(**filters, limit=LIMIT, after=cursor)
        looked_through = [line for statement in executed for line in wasted(full_url, *statement)]
        assert looked_through == [], filters


def wasted(url, statement, parameters):
    """Return where a statement looks through more than its part of a page."""
    with db.engine.connect() as connection:
        if url.startswith("sqlite"):
            rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)
            said = [row[3] for row in rows]
            return [line for line in said if "SCAN squidmesh_" in line and "INDEX" not in line] + [
                line for line in said if "TEMP B-TREE" in line and "LAST" in line
            ]
        explained = "EXPLAIN (ANALYZE, FORMAT JSON) " + statement
        (plan,) = connection.exec_driver_sql(explained, parameters).scalar_one()
        return [
            line
            for line, rows in read_by(plan["Plan"])
            if step_runs.name not in line and rows > (LIMIT + 1) * len(WORKFLOWS)
        ]


def counted(n=0):
    if n == LONG:
        raise OSError("enough")
    return {"n": n + 1, f"at_{n % 7}": n}


class Turning(Workflow):
    """A loop with more visits than a short run has."""

    go = manual()
    turn = step(counted)
    transitions = [turn >> turn, turn.on_error(complete)]


class Spread(Workflow):
    """As many steps side by side; the last one waits for the others, and may fail."""

    go = manual(fail=fields.Boolean(load_default=False))
    sides = [step(lambda n=n: {f"side_{n}": n}) for n in range(LONG)]
    locals().update({f"side_{n}": side for n, side in enumerate(sides)})
    last = step(lambda fail: 1 / 0 if fail else {"last": 1}, after=list(sides))
    del sides


@pytest.mark.parametrize(
    ("workflow", "payload", "status"),
    [
        (Turning, {}, "completed"),
        (Spread, {}, "completed"),
        (Spread, {"fail": True}, "failed"),
    ],
)
def test_context_of_a_long_run_that_is_over_is_read_in_one_piece(world, workflow, payload, status):
    run_id = world.start(workflow, payload)
    run_until_idle()
    with executing() as executed:
        (listed,) = world.squidmesh.list_runs()
    assert [text for text, _ in executed if "squidmesh_step_runs" in text] == []
    put_together = world.see(run_id)
    assert listed == put_together.without_history() == world.squidmesh.inspect_run(run_id)
    assert (listed.status, len(listed.context) > 7) == (status, True)
    # It is a copy: who died before it was made has done no harm.
    with db.engine.begin() as connection:
        assert connection.execute(sa.delete(contexts)).rowcount == 1
    assert list(world.squidmesh.list_runs()) == [listed]


def test_context_of_a_short_run_is_not_kept(world):
    world.start(Written)
    run_until_idle()
    with db.engine.connect() as connection:
        assert connection.execute(sa.select(contexts)).all() == []


class Written(Workflow):
    """A run of a release that did not copy workflow and trigger."""

    go = manual()
    other = manual()
    work = step(lambda: None)
    transitions = [work >> complete]


def test_every_way_to_start_a_run_copies_what_lists_are_filtered_by(world):
    class Yearly(Written):
        name = "yearly"
        new_year = cron("0 0 1 1 *")

    world.squidmesh.register(Yearly)
    with freeze(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) as clock:
        tick()
        run_id = world.start(Written)
        world.squidmesh.start_run(Written, session=db.session, idempotency_key="k")
        db.session.commit()
        world.squidmesh.replay_run(run_id, actor="ada")
        clock.advance(seconds=120)
        assert tick().started == 1
    with db.engine.connect() as connection:
        columns = (run_states.c.workflow, run_states.c.trigger, runs.c.workflow, runs.c.trigger)
        query = sa.select(*columns).join(runs, runs.c.id == run_states.c.run_id)
        found = connection.execute(query).all()
    assert sorted(row[:2] for row in found) == [("written", "go")] * 3 + [("yearly", "new_year")]
    assert all(row[:2] == row[2:] for row in found)


def test_runs_of_the_release_before_are_found_by_every_filter(world):
    for trigger in ("go", "other", "go"):
        world.start(Written, trigger=trigger)
    run_until_idle()
    world.start(Written)
    with db.engine.begin() as connection:
        connection.execute(
            sa.update(run_states)
            .where(run_states.c.run_id.in_(matching({})[1:3]))
            .values(workflow=None, trigger=None)
        )
    for values in itertools.product(
        ("written", None), ("completed", "pending", None), ("go", "other", None)
    ):
        given = dict(zip(("workflow", "status", "trigger"), values, strict=True))
        filters = {name: value for name, value in given.items() if value}
        found = [run.id for page in pages(world.squidmesh, filters, limit=1) for run in page]
        assert found == matching(filters), filters


def test_more_workflows_than_one_statement_reads(world):
    """A trigger of one name in very many workflows."""
    first, count = world.start(Written, trigger="go"), 230
    with db.engine.begin() as connection:
        pattern = store.find(connection, first)
        assert pattern is not None
        for number in range(count):
            name, created = f"written_{number:03}", pattern.created_at + timedelta(seconds=number)
            run = replace(pattern, id=new_id(), workflow=name, created_at=created)
            assert store.insert(connection, run)
    found = [run.id for page in pages(world.squidmesh, {"trigger": "go"}, limit=90) for run in page]
    assert found == matching({"trigger": "go"})
    assert len(found) == count + 1

"""Statements through libpq: what they bind and return, and what becomes of the connection."""

from __future__ import annotations

import logging
import signal
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from flask_squidmesh.store import exchange
from flask_squidmesh.store.exchange import Exchange
from flask_squidmesh.store.prepared import Alone, Prepared
from tests.store.test_plans import STATEMENTS
from tests.store.test_prepared import row

TYPES: dict[str, Any] = {
    "word": sa.Text(),
    "name": sa.String(255),
    "short": sa.SmallInteger(),
    "number": sa.Integer(),
    "long": sa.BigInteger(),
    "sure": sa.Boolean(),
    "at": sa.DateTime(timezone=True),
}
ECHO = Prepared(
    sa.select(*(sa.cast(sa.bindparam(name, type_=kind), kind) for name, kind in TYPES.items()))
)
NOTHING = dict.fromkeys(TYPES)
LATER = Prepared(
    sa.select(
        sa.cast(sa.bindparam("at", type_=sa.DateTime(timezone=True)), sa.DateTime(timezone=True))
        + sa.bindparam("by", type_=sa.Interval())
    )
)
JOINED = Prepared(
    sa.select(
        sa.func.array_to_string(
            sa.bindparam("words", type_=postgresql.ARRAY(sa.Text)),
            sa.bindparam("between", type_=sa.Text),
        )
    )
)
PREPARED = Prepared(
    sa.select(
        sa.cast(
            sa.select(sa.func.count())
            .select_from(sa.table("pg_prepared_statements"))
            .where(sa.column("name").op("^@")(sa.literal_column("'squidmesh'")))
            .scalar_subquery(),
            sa.Integer,
        ),
        sa.func.pg_backend_pid(),
    )
)
SLEEP = Prepared(
    sa.select(sa.cast(sa.func.pg_sleep(sa.bindparam("seconds", type_=sa.Integer)), sa.Text))
)

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
instants = st.datetimes(
    # Hypothesis takes bounds without a zone, which it draws besides.
    datetime(1, 1, 2),  # noqa: DTZ001
    datetime(9998, 12, 30),  # noqa: DTZ001
    timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-14), timedelta(hours=14))),
)


@pytest.fixture(autouse=True)
def exchanged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of the statements that went through an exchange; the test fails if none did."""
    names: list[bytes] = []
    original = Exchange.first

    def first(self, text, values):
        found = original(self, text, values)
        names.append(text.name)
        return found

    monkeypatch.setattr(Exchange, "first", first)
    return names


def wherever(function):
    """Let hypothesis use one pool for all examples: none leaves anything behind."""
    return settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)(
        function
    )


@wherever
@given(
    st.fixed_dictionaries(
        {
            "word": st.none() | words,
            "name": st.none() | words.filter(lambda text: len(text) < 255),
            "short": st.none() | st.integers(-(2**15), 2**15 - 1),
            "number": st.none() | st.integers(-(2**31), 2**31 - 1),
            "long": st.none() | st.integers(-(2**63), 2**63 - 1),
            "sure": st.none() | st.booleans(),
            "at": st.none() | instants,
        }
    )
)
def test_what_is_bound_comes_back(pool_of_one, exchanged, values):
    before = len(exchanged)
    assert row(ECHO, Alone(pool_of_one), **values) == tuple(values[name] for name in TYPES)
    assert len(exchanged) == before + 1


def test_times_come_back_in_utc(pool_of_one):
    noon = datetime(2026, 11, 29, 12, tzinfo=timezone(timedelta(hours=5)))
    found = row(ECHO, Alone(pool_of_one), **NOTHING | {"at": noon})
    assert found[-1].tzinfo is UTC


@wherever
@given(st.timedeltas(timedelta(days=-10000), timedelta(days=10000)))
def test_durations_are_exact(pool_of_one, exchanged, duration):
    at = datetime(2026, 11, 29, tzinfo=UTC)
    assert row(LATER, Alone(pool_of_one), at=at, by=duration) == (at + duration,)
    assert exchanged


@wherever
@given(st.lists(words | st.sampled_from(["", "NULL", '"', "\\", "{}", "a,b", " "])))
def test_lists_of_words_arrive_as_they_are(pool_of_one, exchanged, listed):
    assert row(JOINED, Alone(pool_of_one), words=listed, between="|") == ("|".join(listed),)
    assert exchanged


def test_long_text_is_sent_and_received_whole(pool_of_one, exchanged):
    long = "é€😀" * 1_000_000
    assert row(ECHO, Alone(pool_of_one), **NOTHING | {"word": long})[0] == long
    assert exchanged


def test_what_can_not_be_sent_so_is_left_to_the_driver(pool_of_one, exchanged):
    alone = Alone(pool_of_one)
    with pytest.raises(sa.exc.DataError, match="NUL"):
        row(ECHO, alone, **NOTHING | {"word": "end\0here"})
    listed = Prepared(
        sa.select(sa.func.cardinality(sa.bindparam("numbers", type_=postgresql.ARRAY(sa.Integer))))
    )
    assert row(listed, alone, numbers=[1, 2, 3]) == (3,)
    assert not exchanged


def test_each_statement_is_prepared_once_per_connection(pool_of_one):
    alone = Alone(pool_of_one)
    counts = [row(PREPARED, alone)[0] for _ in range(3)]
    row(ECHO, alone, **NOTHING)
    assert [*counts, row(PREPARED, alone)[0]] == [1, 1, 1, 2]


def test_statements_that_somebody_discards_are_executed_all_the_same(pool_of_one, caplog):
    alone = Alone(pool_of_one)
    row(ECHO, alone, **NOTHING)
    with pool_of_one.connect() as connection:
        connection.exec_driver_sql("DEALLOCATE ALL")
    with caplog.at_level(logging.DEBUG, "flask_squidmesh"):
        assert row(ECHO, alone, **NOTHING | {"number": 7})[3] == 7
    assert "repeated after RefusedError" in caplog.text


def test_commit_that_fails_is_not_taken_for_the_row_before_it(pool_of_one, exchanged):
    """The row is sent first, and a deferred constraint is looked at when it is committed."""
    with pool_of_one.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE parents (id integer PRIMARY KEY)")
        connection.exec_driver_sql(
            "CREATE TABLE children (id integer, text text, parent integer "
            "REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"
        )
    children = sa.table(
        "children",
        sa.column("id", sa.Integer),
        sa.column("text", sa.Text),
        sa.column("parent", sa.Integer),
    )
    given = {
        name: sa.bindparam(f"its_{name}", type_=children.c[name].type)
        for name in ("id", "text", "parent")
    }
    added = sa.insert(children).values(given).returning(children.c.text).cte("added")
    add = Prepared(sa.select(added.c.text))
    alone = Alone(pool_of_one)
    # Longer than what the server keeps back until it has committed.
    values = {"its_id": 1, "its_text": "x" * 100_000, "its_parent": 1}
    with pytest.raises(sa.exc.IntegrityError):
        row(add, alone, **values)
    with pool_of_one.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(children)) == 0
    assert not exchanged


@pytest.mark.parametrize(
    "arguments",
    [{"prepare_threshold": None}, {"client_encoding": "latin1"}],
    ids=["no prepared statements", "another encoding"],
)
def test_connections_that_are_set_up_otherwise_are_left_to_the_driver(
    pool_of_one, exchanged, arguments
):
    engine = sa.create_engine(pool_of_one.url, connect_args=arguments)
    try:
        assert row(PREPARED, Alone(engine))[0] == 0
        assert row(ECHO, Alone(engine), **NOTHING | {"word": "café"})[0] == "café"
        assert not exchanged
    finally:
        engine.dispose()


class Interrupted(BaseException):
    """What a signal's handler raises."""


def test_signal_reaches_the_thread_while_the_server_works(pool_of_one):
    def interrupt(*_):
        raise Interrupted

    _, pid = row(PREPARED, Alone(pool_of_one))
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(Interrupted):
            row(SLEEP, Alone(pool_of_one), seconds=60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert row(PREPARED, Alone(pool_of_one))[1] != pid


def test_statement_is_no_part_of_a_transaction_that_the_host_has_left_open(pool_of_one, exchanged):
    """Such as by a listener that sets something up: what is done in it would be rolled back."""
    with pool_of_one.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE made (number integer)")
    made = sa.table("made", sa.column("number", sa.Integer))
    added = sa.insert(made).values(number=sa.bindparam("n")).returning(made.c.number).cte("added")
    sa.event.listen(pool_of_one, "checkout", lambda driver, *_: driver.execute("SELECT 1"))
    with pytest.raises(psycopg.ProgrammingError, match="INTRANS"):
        row(Prepared(sa.select(added.c.number)), Alone(pool_of_one), n=1)
    assert not exchanged


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_returns_what_can_be_read(pool_of_one, name):
    text = STATEMENTS[name].numbered
    with pool_of_one.connect() as connection:
        pgconn = connection.connection.dbapi_connection.pgconn
        pgconn.prepare(text.name, text.content)
        described = pgconn.describe_prepared(text.name)
    assert described.nparams == len(text.parameters)
    types = {described.ftype(column) for column in range(described.nfields)}
    assert types <= exchange._RECEIVED.keys()
    assert types

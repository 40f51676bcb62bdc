"""Statements that go to the driver as text: as certain as those that SQLAlchemy executes."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from flask_squidmesh.store.prepared import Alone, Prepared

NAME = Prepared(sa.select(sa.bindparam("given", type_=sa.Text), sa.func.pg_backend_pid()))
RATIO = Prepared(
    sa.select(sa.literal_column("1", sa.Integer) // sa.bindparam("by", type_=sa.Integer))
)


def row(prepared, through, **values):
    found = prepared.first(through, values)
    return None if found is None else tuple(found)


def listen(engine):
    heard = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: heard.append(args[2]))
    return heard


def test_statement_is_its_own_transaction_and_leaves_the_connection_as_it_was(pool_of_one):
    made = sa.text("CREATE TABLE made (number integer)")
    with pool_of_one.begin() as connection:
        connection.execute(made)
    table = sa.table("made", sa.column("number", sa.Integer))
    added = sa.insert(table).values(number=sa.bindparam("n")).returning(table.c.number).cte("added")
    add = Prepared(sa.select(added.c.number))
    assert [row(add, Alone(pool_of_one), n=n) for n in (1, 2)] == [(1,), (2,)]
    with pool_of_one.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit is False
        assert row(add, connection, n=3) == (3,)
        connection.rollback()
        assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 2


def test_connection_that_was_cut_is_replaced(pool_of_one):
    alone = Alone(pool_of_one)
    _, pid = row(NAME, alone, given="a")
    other = sa.create_engine(pool_of_one.url, poolclass=sa.NullPool)
    with other.begin() as connection:
        connection.execute(sa.select(sa.func.pg_terminate_backend(pid)))
    given, again = row(NAME, alone, given="b")
    assert given == "b"
    assert again != pid


def test_failure_is_raised_as_sqlalchemy_raises_it(pool_of_one):
    alone = Alone(pool_of_one)
    for _ in range(2):
        with pytest.raises(sa.exc.DataError, match="division by zero"):
            row(RATIO, alone, by=0)
    assert row(RATIO, alone, by=1) == (1,)


def test_who_listens_to_the_engine_hears_every_statement(pool_of_one):
    alone = Alone(pool_of_one)
    row(NAME, alone, given="unheard")
    heard = listen(pool_of_one)
    assert row(NAME, alone, given="heard")[0] == "heard"
    assert [text for text in heard if "pg_backend_pid" in text] == [NAME.text(pool_of_one)]


def test_who_reads_the_engine_s_log_finds_every_statement(pool_of_one, caplog):
    alone = Alone(pool_of_one)
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        row(NAME, alone, given="logged")
    assert any("pg_backend_pid" in record.getMessage() for record in caplog.records)


def test_statement_goes_around_sqlalchemy_when_nobody_listens(pool_of_one, monkeypatch):
    """The short way is taken: a connection of SQLAlchemy's is not even made."""

    def refuse(*_args, **_options):
        raise AssertionError("this is the long way")

    monkeypatch.setattr(sa.Engine, "connect", refuse)
    assert row(NAME, Alone(pool_of_one), given="x")[0] == "x"


def test_tables_in_a_translated_schema_are_found(pool_of_one):
    with pool_of_one.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA tenant"))
        connection.execute(sa.text("CREATE TABLE tenant.place AS SELECT 'there' AS name"))
    where = Prepared(sa.select(sa.Table("place", sa.MetaData(), sa.Column("name", sa.Text)).c.name))
    moved = pool_of_one.execution_options(schema_translate_map={None: "tenant"})
    assert row(where, Alone(moved)) == ("there",)
    with moved.connect() as connection:
        assert row(where, connection) == ("there",)

"""What is read in one piece is of one moment, whatever is committed meanwhile."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from flask_squidmesh.store import transaction

COUNT = sa.text("SELECT count(*) FROM things")


def test_reads_of_one_piece_see_one_moment(database_url: str):
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.execute(sa.text("CREATE TABLE things (id INTEGER)"))

    def twice(connection: sa.Connection) -> tuple[int, int]:
        before = connection.execute(COUNT).scalar_one()
        with engine.begin() as other:
            other.execute(sa.text("INSERT INTO things VALUES (1)"))
        return before, connection.execute(COUNT).scalar_one()

    try:
        assert transaction.read(engine, twice) == (0, 0)
        assert transaction.read(engine, lambda c: c.execute(COUNT).scalar_one()) == 1
    finally:
        engine.dispose()


def test_read_on_the_only_connection_leaves_its_transaction_alone():
    """A database in memory may have one connection, which is in a transaction already."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE things (id INTEGER)"))
        connection.execute(sa.text("INSERT INTO things VALUES (1)"))
        assert transaction.read(engine, lambda c: c.execute(COUNT).scalar_one()) == 1
    engine.dispose()

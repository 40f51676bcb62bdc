"""An application on PostgreSQL or SQLite that knows `Sleeper`, and what it asks the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from flask_squidmesh.clock import Clock
from tests.contract.conftest import open_world, shared_url, url
from tests.contract.host import db

__all__ = ["open_world", "shared_url", "url"]


@dataclass
class Asked:
    """The statements that were executed."""

    statements: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.statements)


@contextmanager
def asking() -> Iterator[Asked]:
    """Note every statement that this process executes within the block."""
    asked = Asked()

    def note(_connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        asked.statements.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)


def database_time(*, seconds: float = 0) -> datetime:
    """Return the time by which the database judges, so many seconds later."""
    now = Clock().now
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect() as connection:
            now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now + timedelta(seconds=seconds)

"""SQLite as the embedded default: development, tests, everything in one process.

For hosts to call on their own engine, once, where they create it. The library
never does it by itself: how a database is opened is the host's decision.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Engine, event


def configure(
    engine: Engine,
    *,
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    busy_timeout: float = 10.0,
) -> None:
    """Have every new connection of *engine* opened so that threads and processes can share it.

    That is: a write-ahead log, so that readers and the one writer do not stop
    each other; up to *busy_timeout* seconds of patience with another writer;
    foreign keys enforced. `NORMAL` survives a killed process, but a power cut
    may take the last commits back; `FULL` keeps those, too, and is slower.

    Does nothing for another database, so that it may be called whatever the
    URL. Connections that are open already stay as they are.
    """
    if engine.dialect.name != "sqlite":
        return
    pragmas = (
        # First, so that switching to the write-ahead log has patience, too.
        f"busy_timeout={round(busy_timeout * 1000)}",
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "foreign_keys=ON",
    )

    def prepare(connection: Any, _record: object) -> None:
        # PRAGMAs are ignored within a transaction; Python 3.11 knows no `autocommit`.
        autocommit = getattr(connection, "autocommit", None)
        if autocommit is False:
            connection.autocommit = True
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        if autocommit is False:
            connection.autocommit = False

    event.listen(engine, "connect", prepare)

"""Fills a database with finished runs, a million in about a minute.

    python -m benchmarks.history --url postgresql+psycopg:///app --runs 1000000 [--seed 1]

One run of every kind is executed by the engine (`benchmarks.specimens`), and
its rows are multiplied by the database itself: with ids and times of their own,
spread over two years so that there are more of late, each faster or slower than
its specimen by a factor. What the engine promises of a run holds for all of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from benchmarks.specimens import CRON, KINDS, OF_A_RUN, WORKFLOWS, Specimen, record
from flask_squidmesh.clock import Clock
from flask_squidmesh.definition import documents
from flask_squidmesh.store import dialect, models

__all__ = ["WORKFLOWS", "seed"]

SPAN: Final = timedelta(days=730)
SLOWEST: Final = 2.0
AT_ONCE: Final = 20_000

_TEMPORARY: Final = sa.MetaData()
_drafts: Final = sa.Table(
    "history_drafts",
    _TEMPORARY,
    sa.Column("kind", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
    sa.Column("created_at", models.UtcDateTime, nullable=False),
    sa.Column("pace", sa.Float, nullable=False),
    sa.Column("source", sa.Uuid(as_uuid=False)),
    sa.Column("source_text", sa.Text),
    sa.Column("schedule", sa.Text),
    sa.Column("cron_window", models.UtcDateTime),
    prefixes=["TEMPORARY"],
)


def seed(engine: sa.Engine, *, runs: int, seed: int = 1, until: datetime) -> None:
    """Add *runs* finished runs of `WORKFLOWS` to a database that has the tables.

    All are over at *until* (aware). The same arguments give the same runs; a
    second history in the same database needs another *seed* and fewer cron
    windows than there are hours between the two values of *until*.

    On PostgreSQL a superuser is much faster: rows that are right by
    construction need not be checked for their foreign keys.
    """
    specimens, definitions = record()
    slowest = timedelta(seconds=SLOWEST * max(each.seconds for each in specimens) + 1)
    with engine.begin() as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        if is_postgresql and _is_superuser(connection):
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for row in definitions:
            connection.execute(dialect.insert_if_absent(connection, models.definitions), row)
        _drafts.create(connection)
        drafts = _draft(Random(seed), runs, seed=seed, until=until - slowest, specimens=specimens)  # noqa: S311  # no secret
        _insert(connection, drafts)
        for name in OF_A_RUN:
            _multiply(connection, name, specimens)
        _drafts.drop(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE" if is_postgresql else "ANALYZE"))


def _is_superuser(connection: sa.Connection) -> bool:
    return str(connection.scalar(sa.text("SHOW is_superuser"))) == "on"


def _draft(
    random: Random, count: int, *, seed: int, until: datetime, specimens: Sequence[Specimen]
) -> Iterator[dict[str, Any]]:
    """Yield what distinguishes each run from its specimen, oldest first."""
    weights = [kind.weight for kind in KINDS]
    kinds = random.choices(range(len(KINDS)), weights, k=count)
    # The square root makes the last year three times as busy as the one before.
    ages = sorted((random.random() ** 2 for _ in range(count)), reverse=True)
    since = until - SPAN
    window = since.replace(minute=0, second=0, microsecond=0)
    # One of twenty is started by the clock, for as many hours as there are.
    schedule = documents.decode(str(specimens[CRON].rows["runs"][0]["schedule"] or "{}"))
    hours = int(SPAN / timedelta(hours=1))
    every = timedelta(hours=max(1, round(hours / max(1, count // 20))))
    sources: dict[int, str] = {}
    for number, (kind, age) in enumerate(zip(kinds, ages, strict=True)):
        # Milliseconds, as ids and the functions of SQLite have them.
        at = until - timedelta(milliseconds=int(age * SPAN.total_seconds() * 1000))
        row: dict[str, Any] = {
            "kind": kind,
            "number": seed * 100_000_000 + number,
            "created_at": at,
            "pace": round(random.uniform(0.5, SLOWEST), 3),
            "source": None,
            "source_text": None,
            "schedule": None,
            "cron_window": None,
        }
        if window + every <= at:
            # The latest window there was; earlier ones were missed.
            window += (at - window) // every * every
            row |= {
                "kind": CRON,
                "created_at": window + timedelta(milliseconds=350),
                "cron_window": window,
                "schedule": _schedule(schedule, window),
            }
        row["id"] = _id(random, row["created_at"])
        sources[row["kind"]] = row["id"]
        if KINDS[row["kind"]].replayed:
            source = sources.get(0, row["id"])
            row |= {"source": source, "source_text": source}
        yield row


def _schedule(specimen: Mapping[str, Any], window: datetime) -> str:
    times = {
        "window_start": window,
        "window_end": window + timedelta(hours=1),
        "fired_at": window + timedelta(milliseconds=350),
    }
    return documents.encode({**specimen, **times}, what="schedule")


def _id(random: Random, at: datetime) -> str:
    millisecond = int(at.timestamp() * 1000)
    value = millisecond << 80 | 7 << 76 | random.getrandbits(12) << 64
    return str(UUID(int=value | 2 << 62 | random.getrandbits(62)))


def _insert(connection: sa.Connection, drafts: Iterator[dict[str, Any]]) -> None:
    cursor: Any = connection.connection.cursor()
    if not hasattr(cursor, "copy"):
        rows: list[dict[str, Any]] = []
        for draft in drafts:
            rows.append(draft)
            if len(rows) == AT_ONCE:
                connection.execute(sa.insert(_drafts), rows)
                rows = []
        if rows:
            connection.execute(sa.insert(_drafts), rows)
        return
    names = _drafts.columns.keys()
    command = f"COPY {_drafts.name} ({', '.join(names)}) FROM STDIN"
    with cursor, cursor.copy(command) as copy:
        for draft in drafts:
            copy.write_row([draft[name] for name in names])


def _multiply(connection: sa.Connection, name: str, specimens: Sequence[Specimen]) -> None:
    """Insert the rows of one table: those of its specimen for every draft."""
    target: sa.Table = getattr(models, name)
    source = sa.Table(
        f"history_{name}",
        sa.MetaData(),
        sa.Column("kind", sa.Integer, nullable=False),
        *(sa.Column(column.name, _plain(column)) for column in target.columns),
        prefixes=["TEMPORARY"],
    )
    source.create(connection)
    rows = [
        {"kind": kind, **row}
        for kind, specimen in enumerate(specimens)
        for row in specimen.rows[name]
    ]
    if rows:
        connection.execute(sa.insert(source), rows)
        values = [_value(connection, name, column).label(column.name) for column in target.columns]
        query = sa.select(*values).select_from(
            _drafts.join(source, source.c.kind == _drafts.c.kind)
        )
        connection.execute(sa.insert(target).from_select(target.columns.keys(), query))
    source.drop(connection)


def _plain(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    return sa.Float() if isinstance(column.type, models.UtcDateTime) else column.type


def _value(connection: sa.Connection, table: str, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return what a column is filled with, made of its specimen and the draft."""
    own: sa.ColumnElement[Any] = sa.literal_column(f"history_{table}.{_quoted(column.name)}")
    draft = _drafts.c
    if column.name in ("id", "run_id"):
        return draft.id
    if (table, column.name) == ("runs", "cron_window"):
        return draft.cron_window
    if (table, column.name) == ("runs", "schedule"):
        return draft.schedule
    if (table, column.name) == ("runs", "replayed_from_run_id"):
        return draft.source
    if (table, column.name) == ("audit_events", "metadata"):
        is_replayed: sa.ColumnElement[bool] = sa.literal_column(
            "history_audit_events.type = 'replayed'"
        )
        told: sa.ColumnElement[str] = sa.literal_column("""'{"source_run_id":"'""").concat(
            draft.source_text
        )
        return sa.case((is_replayed, told.concat(sa.literal_column("""'"}'"""))), else_=own)
    if isinstance(column.type, models.UtcDateTime):
        return _shifted(connection, own)
    if column.name in ("payload", "output", "idempotency_key") and table != "audit_events":
        return sa.func.replace(own, "@number@", sa.cast(draft.number, sa.Text))
    return own


def _quoted(name: str) -> str:
    return f'"{name}"'


def _shifted(connection: sa.Connection, offset: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the time that is *offset* seconds, at the draft's pace, after its creation."""
    if connection.dialect.name == "postgresql":
        return sa.literal_column(
            f"history_drafts.created_at + {offset} * history_drafts.pace * interval '1 second'"
        )
    return sa.literal_column(
        "strftime('%Y-%m-%d %H:%M:%f', history_drafts.created_at, "
        f"({offset} * history_drafts.pace) || ' seconds') || '000'"
    )


def main(arguments: Sequence[str]) -> None:
    """Fill the database that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", type=datetime.fromisoformat, help="by default the next hour")
    asked = parser.parse_args(arguments)
    engine = sa.create_engine(asked.url)
    until = asked.until or Clock().now
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    began = time.monotonic()
    models.METADATA.create_all(engine)
    seed(engine, runs=asked.runs, seed=asked.seed, until=until)
    print(f"{asked.runs} runs in {time.monotonic() - began:.0f} seconds")  # noqa: T201  # its purpose


if __name__ == "__main__":
    main(sys.argv[1:])

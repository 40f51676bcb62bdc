"""The tables, and how they join the host's metadata.

What is happening now is one narrow row per branch; what has happened is
written once and never changes. So `squidmesh_branches` and
`squidmesh_run_states` are the only tables with traffic of updates, and both
are small rows without documents:

* `runs`: what was asked, `run_states`: where it stands. The latter is the row
  that every transaction about a run locks first.
* `branches`: one row per active step run: its status, its current attempt,
  the lease and fencing token, and `due_at`, the time at which the ticker must
  act if nothing has happened until then. A branch that goes on to the next
  step is re-pointed, not replaced.
* `step_runs` and `attempts`: the history, inserted when a step run or an
  attempt ends. `ordinal` counts the endings of a run's attempts; a step run
  sees the outputs up to its `horizon`, so its input can be rebuilt at any time.
* `contexts`: what the outputs of a long run added up to, written once it is over.
* `joins`: how many dependencies a step, or the run's completion, still misses.

Documents (payload, output, error ...) are JSON in text columns, encoded by us:
byte for byte what was checked against the size limit, whatever JSON encoder the
host gave its engine, NUL characters and lone surrogates included.

Constraints carry explicit names, shielded from the host's naming convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.elements import conv

from flask_squidmesh.lifecycle import states

METADATA: Final = sa.MetaData()
PREFIX: Final = "squidmesh_"
NAME: Final = sa.String(255)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware times in UTC, also on databases that keep none of the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


DOCUMENT: Final = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def _id() -> sa.Uuid[str]:
    return sa.Uuid(as_uuid=False)


def _table(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(f"{PREFIX}{name}", METADATA, *parts)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=conv(f"{PREFIX}{table}_pkey"))


def _unique(table: str, label: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=conv(f"{PREFIX}{table}_{label}_key"))


def _of_run(table: str, column: str = "run_id") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{PREFIX}runs.id"],
        name=conv(f"{PREFIX}{table}_{column}_fkey"),
        ondelete="CASCADE",
    )


def _one_of(table: str, column: str, values: Sequence[str]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(
        f"{column} IN ({listed})", name=conv(f"{PREFIX}{table}_{column}_check")
    )


definitions = _table(
    "definitions",
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("workflow", NAME, nullable=False),
    sa.Column("version", NAME),
    sa.Column("document", DOCUMENT, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    _key("definitions", "fingerprint"),
)

runs = _table(
    "runs",
    sa.Column("id", _id(), nullable=False),
    sa.Column("workflow", NAME, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("trigger", NAME, nullable=False),
    sa.Column("payload", DOCUMENT, nullable=False),
    sa.Column("schedule", DOCUMENT),
    sa.Column("cron_window", UtcDateTime),
    sa.Column("idempotency_key", NAME),
    sa.Column("request_digest", sa.String(64)),
    sa.Column("replayed_from_run_id", _id()),
    sa.Column("created_at", UtcDateTime, nullable=False),
    _key("runs", "id"),
    _unique("runs", "idempotency", "workflow", "idempotency_key"),
    _unique("runs", "cron_window", "workflow", "trigger", "cron_window"),
    sa.ForeignKeyConstraint(
        ["fingerprint"],
        [f"{PREFIX}definitions.fingerprint"],
        name=conv(f"{PREFIX}runs_fingerprint_fkey"),
    ),
    sa.Index(conv(f"{PREFIX}runs_created_at_idx"), "created_at", "id"),
    sa.Index(conv(f"{PREFIX}runs_workflow_idx"), "workflow", "trigger", "created_at", "id"),
)

run_states = _table(
    "run_states",
    sa.Column("run_id", _id(), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("last_error", DOCUMENT),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    # Copies of what the run was asked for, so that one index serves every filter of a list.
    # Null in rows of releases that did not know these columns.
    sa.Column("workflow", NAME),
    sa.Column("trigger", NAME),
    _key("run_states", "run_id"),
    _of_run("run_states"),
    _one_of("run_states", "status", tuple(states.RunStatus)),
    sa.Index(conv(f"{PREFIX}run_states_status_idx"), "status", "created_at", "run_id"),
    sa.Index(
        conv(f"{PREFIX}run_states_workflow_idx"),
        "status",
        "workflow",
        "trigger",
        "created_at",
        "run_id",
    ),
)

branches = _table(
    "branches",
    sa.Column("run_id", _id(), nullable=False),
    sa.Column("slot", sa.Integer, nullable=False),
    sa.Column("step", NAME, nullable=False),
    sa.Column("visit", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("resends", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ready_at", UtcDateTime, nullable=False),
    sa.Column("due_at", UtcDateTime),
    sa.Column("rung_at", UtcDateTime),
    sa.Column("started_at", UtcDateTime),
    sa.Column("touched_at", UtcDateTime, nullable=False),
    sa.Column("worker", NAME),
    _key("branches", "run_id", "slot"),
    _of_run("branches"),
    _one_of("branches", "status", states.active(states.STEP_RUN)),
    sa.Index(
        conv(f"{PREFIX}branches_due_at_idx"),
        "due_at",
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    ),
    sa.Index(
        conv(f"{PREFIX}branches_lease_idx"),
        "due_at",
        "status",
        postgresql_where=sa.text("status = 'running'"),
        sqlite_where=sa.text("status = 'running'"),
    ),
)

step_runs = _table(
    "step_runs",
    sa.Column("run_id", _id(), nullable=False),
    sa.Column("step", NAME, nullable=False),
    sa.Column("visit", sa.Integer, nullable=False),
    sa.Column("slot", sa.Integer, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("outcome", sa.String(8)),
    sa.Column("output", DOCUMENT),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=False),
    _key("step_runs", "run_id", "step", "visit"),
    _of_run("step_runs"),
    _one_of("step_runs", "status", states.terminal(states.STEP_RUN)),
)

attempts = _table(
    "attempts",
    sa.Column("run_id", _id(), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("step", NAME, nullable=False),
    sa.Column("visit", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("worker", NAME),
    sa.Column("error", DOCUMENT),
    sa.Column("traceback", DOCUMENT),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=False),
    _key("attempts", "run_id", "ordinal"),
    _of_run("attempts"),
    _one_of("attempts", "status", states.terminal(states.ATTEMPT)),
)

contexts = _table(
    "contexts",
    sa.Column("run_id", _id(), nullable=False),
    sa.Column("document", DOCUMENT, nullable=False),
    _key("contexts", "run_id"),
    _of_run("contexts"),
)

joins = _table(
    "joins",
    sa.Column("run_id", _id(), nullable=False),
    sa.Column("step", NAME, nullable=False),
    sa.Column("missing", sa.Integer, nullable=False),
    _key("joins", "run_id", "step"),
    _of_run("joins"),
    sa.CheckConstraint("missing >= 0", name=conv(f"{PREFIX}joins_missing_check")),
)

audit_events = _table(
    "audit_events",
    sa.Column("run_id", _id(), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("step", NAME),
    sa.Column("actor", DOCUMENT),
    sa.Column("comment", DOCUMENT),
    sa.Column("metadata", DOCUMENT),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("idempotency_key", NAME),
    sa.Column("request_digest", sa.String(64)),
    _key("audit_events", "run_id", "number"),
    _unique("audit_events", "idempotency", "run_id", "idempotency_key"),
    _of_run("audit_events"),
)

schedules = _table(
    "schedules",
    sa.Column("workflow", NAME, nullable=False),
    sa.Column("trigger", NAME, nullable=False),
    sa.Column("expression", NAME, nullable=False),
    sa.Column("timezone", NAME, nullable=False),
    sa.Column("catch_up", sa.String(8), nullable=False),
    sa.Column("next_at", UtcDateTime, nullable=False),
    sa.Column("last_window", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    _key("schedules", "workflow", "trigger"),
)


def attach(metadata: sa.MetaData) -> None:
    """Add the tables to *metadata*, so that autogenerate knows them; again is harmless."""
    for table in METADATA.sorted_tables:
        if table.name not in metadata.tables:
            table.to_metadata(metadata)

"""flask_squidmesh: create the tables

Installed by "flask squidmesh install". It is part of this application's
history now: commit it, and do not change "revision" or "squidmesh_migration".
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

# revision identifiers, used by Alembic.
revision = "sqm0001"
down_revision = "0001"
branch_labels = None
depends_on = None

# how far this history has come, read by "flask squidmesh install".
squidmesh_migration = 1


def upgrade(engine_name: str = "") -> None:
    if engine_name:  # another database of an application with several
        return
    create_definitions()
    create_runs()
    create_run_states()
    create_branches()
    create_step_runs()
    create_attempts()
    create_joins()
    create_audit_events()
    create_schedules()
    if op.get_context().dialect.name == "postgresql":
        tune_hot_tables()


def downgrade(engine_name: str = "") -> None:
    if engine_name:
        return
    op.drop_table("squidmesh_schedules")
    op.drop_table("squidmesh_audit_events")
    op.drop_table("squidmesh_joins")
    op.drop_table("squidmesh_attempts")
    op.drop_table("squidmesh_step_runs")
    op.drop_table("squidmesh_branches")
    op.drop_table("squidmesh_run_states")
    op.drop_table("squidmesh_runs")
    op.drop_table("squidmesh_definitions")


def identifier():
    return sa.Uuid(as_uuid=False)


def label():
    return sa.String(255)


def moment():
    return sa.DateTime(timezone=True).with_variant(
        mysql.DATETIME(fsp=6), "mysql", "mariadb"
    )


def document():
    return sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def of_run(name):
    return sa.ForeignKeyConstraint(
        ["run_id"], ["squidmesh_runs.id"], name=op.f(name), ondelete="CASCADE"
    )


def create_definitions() -> None:
    op.create_table(
        "squidmesh_definitions",
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("workflow", label(), nullable=False),
        sa.Column("version", label()),
        sa.Column("document", document(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("squidmesh_definitions_pkey")),
    )


def create_runs() -> None:
    op.create_table(
        "squidmesh_runs",
        sa.Column("id", identifier(), nullable=False),
        sa.Column("workflow", label(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("trigger", label(), nullable=False),
        sa.Column("payload", document(), nullable=False),
        sa.Column("schedule", document()),
        sa.Column("cron_window", moment()),
        sa.Column("idempotency_key", label()),
        sa.Column("request_digest", sa.String(64)),
        sa.Column("replayed_from_run_id", identifier()),
        sa.Column("created_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("squidmesh_runs_pkey")),
        sa.UniqueConstraint(
            "workflow", "idempotency_key", name=op.f("squidmesh_runs_idempotency_key")
        ),
        sa.UniqueConstraint(
            "workflow",
            "trigger",
            "cron_window",
            name=op.f("squidmesh_runs_cron_window_key"),
        ),
        sa.ForeignKeyConstraint(
            ["fingerprint"],
            ["squidmesh_definitions.fingerprint"],
            name=op.f("squidmesh_runs_fingerprint_fkey"),
        ),
    )
    op.create_index(
        op.f("squidmesh_runs_created_at_idx"), "squidmesh_runs", ["created_at", "id"]
    )
    op.create_index(
        op.f("squidmesh_runs_workflow_idx"),
        "squidmesh_runs",
        ["workflow", "trigger", "created_at", "id"],
    )


def create_run_states() -> None:
    op.create_table(
        "squidmesh_run_states",
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("last_error", document()),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("updated_at", moment(), nullable=False),
        sa.Column("finished_at", moment()),
        sa.PrimaryKeyConstraint("run_id", name=op.f("squidmesh_run_states_pkey")),
        of_run("squidmesh_run_states_run_id_fkey"),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'retrying', 'paused', 'cancelling', "
            "'completed', 'failed', 'cancelled')",
            name=op.f("squidmesh_run_states_status_check"),
        ),
    )
    op.create_index(
        op.f("squidmesh_run_states_status_idx"),
        "squidmesh_run_states",
        ["status", "created_at", "run_id"],
    )


def create_branches() -> None:
    op.create_table(
        "squidmesh_branches",
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("step", label(), nullable=False),
        sa.Column("visit", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("resends", sa.Integer(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("ready_at", moment(), nullable=False),
        sa.Column("due_at", moment()),
        sa.Column("rung_at", moment()),
        sa.Column("started_at", moment()),
        sa.Column("touched_at", moment(), nullable=False),
        sa.Column("worker", label()),
        sa.PrimaryKeyConstraint("run_id", "slot", name=op.f("squidmesh_branches_pkey")),
        of_run("squidmesh_branches_run_id_fkey"),
        sa.CheckConstraint(
            "status IN ('pending', 'waiting', 'retrying', 'running', 'paused')",
            name=op.f("squidmesh_branches_status_check"),
        ),
    )
    op.create_index(
        op.f("squidmesh_branches_due_at_idx"),
        "squidmesh_branches",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )


def create_step_runs() -> None:
    op.create_table(
        "squidmesh_step_runs",
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("step", label(), nullable=False),
        sa.Column("visit", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(8)),
        sa.Column("output", document()),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("finished_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint(
            "run_id", "step", "visit", name=op.f("squidmesh_step_runs_pkey")
        ),
        of_run("squidmesh_step_runs_run_id_fkey"),
        sa.CheckConstraint(
            "status IN ('cancelled', 'completed', 'failed')",
            name=op.f("squidmesh_step_runs_status_check"),
        ),
    )


def create_attempts() -> None:
    op.create_table(
        "squidmesh_attempts",
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("step", label(), nullable=False),
        sa.Column("visit", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("worker", label()),
        sa.Column("error", document()),
        sa.Column("traceback", document()),
        sa.Column("started_at", moment(), nullable=False),
        sa.Column("finished_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint(
            "run_id", "ordinal", name=op.f("squidmesh_attempts_pkey")
        ),
        of_run("squidmesh_attempts_run_id_fkey"),
        sa.CheckConstraint(
            "status IN ('completed', 'failed', 'cancelled', 'abandoned')",
            name=op.f("squidmesh_attempts_status_check"),
        ),
    )


def create_joins() -> None:
    op.create_table(
        "squidmesh_joins",
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("step", label(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("squidmesh_joins_pkey")),
        of_run("squidmesh_joins_run_id_fkey"),
        sa.CheckConstraint("missing >= 0", name=op.f("squidmesh_joins_missing_check")),
    )


def create_audit_events() -> None:
    op.create_table(
        "squidmesh_audit_events",
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("step", label()),
        sa.Column("actor", document()),
        sa.Column("comment", document()),
        sa.Column("metadata", document()),
        sa.Column("at", moment(), nullable=False),
        sa.Column("idempotency_key", label()),
        sa.Column("request_digest", sa.String(64)),
        sa.PrimaryKeyConstraint(
            "run_id", "number", name=op.f("squidmesh_audit_events_pkey")
        ),
        sa.UniqueConstraint(
            "run_id",
            "idempotency_key",
            name=op.f("squidmesh_audit_events_idempotency_key"),
        ),
        of_run("squidmesh_audit_events_run_id_fkey"),
    )


def create_schedules() -> None:
    op.create_table(
        "squidmesh_schedules",
        sa.Column("workflow", label(), nullable=False),
        sa.Column("trigger", label(), nullable=False),
        sa.Column("expression", label(), nullable=False),
        sa.Column("timezone", label(), nullable=False),
        sa.Column("catch_up", sa.String(8), nullable=False),
        sa.Column("next_at", moment(), nullable=False),
        sa.Column("last_window", moment()),
        sa.Column("created_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint(
            "workflow", "trigger", name=op.f("squidmesh_schedules_pkey")
        ),
    )


def tune_hot_tables() -> None:
    # Branches are updated for every step and deleted with the branch: room on
    # the page for the next version of a row, and a vacuum that does not wait.
    op.execute(
        "ALTER TABLE squidmesh_branches SET (fillfactor = 50, "
        "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0)"
    )
    op.execute(
        "ALTER TABLE squidmesh_run_states SET ("
        "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0)"
    )

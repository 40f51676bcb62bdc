"""flask_squidmesh: index lists and leases

Installed by "flask squidmesh install". It is part of this application's
history now: commit it, and do not change "revision" or "squidmesh_migration".

Copies workflow and trigger of every run next to its status, so that one index
serves every filter of a list, gives the leases an index of their own, and
makes room for the contexts of long runs that are over.
Workers of the release before can go on while it runs and afterwards, but wait
for it: on PostgreSQL it locks squidmesh_run_states until it is committed, for
about half a minute per million runs. What is there already is left alone, so
with many runs most of it can be done beforehand, without a lock that lasts; see
"Large tables" in the guide for operators.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

# revision identifiers, used by Alembic.
revision = "sqm0002"
down_revision = "sqm0001"
branch_labels = None
depends_on = None

# how far this history has come, read by "flask squidmesh install".
squidmesh_migration = 2


def upgrade(engine_name: str = "") -> None:
    if engine_name:  # another database of an application with several
        return
    create_contexts()
    add_columns()
    fill_columns()
    add_indexes()


def downgrade(engine_name: str = "") -> None:
    if engine_name:
        return
    op.drop_index(op.f("squidmesh_branches_lease_idx"), "squidmesh_branches")
    op.drop_index(op.f("squidmesh_run_states_workflow_idx"), "squidmesh_run_states")
    op.drop_column("squidmesh_run_states", "trigger")
    op.drop_column("squidmesh_run_states", "workflow")
    op.drop_table("squidmesh_contexts")


def is_postgresql():
    return op.get_context().dialect.name == "postgresql"


def create_contexts() -> None:
    op.create_table(
        "squidmesh_contexts",
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column(
            "document",
            sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("squidmesh_contexts_pkey")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["squidmesh_runs.id"],
            name=op.f("squidmesh_contexts_run_id_fkey"),
            ondelete="CASCADE",
        ),
    )


def add_columns() -> None:
    for name in ("workflow", "trigger"):
        if is_postgresql():
            op.execute(
                "ALTER TABLE squidmesh_run_states "
                f'ADD COLUMN IF NOT EXISTS "{name}" VARCHAR(255)'
            )
        else:
            op.add_column(
                "squidmesh_run_states", sa.Column(name, sa.String(255), nullable=True)
            )


def fill_columns() -> None:
    runs = sa.table(
        "squidmesh_runs", sa.column("id"), sa.column("workflow"), sa.column("trigger")
    )
    states = sa.table(
        "squidmesh_run_states",
        sa.column("run_id"),
        sa.column("workflow"),
        sa.column("trigger"),
    )
    op.execute(
        sa.update(states)
        .values(workflow=runs.c.workflow, trigger=runs.c.trigger)
        .where(runs.c.id == states.c.run_id, states.c.workflow.is_(None))
    )


def add_indexes() -> None:
    if is_postgresql():
        op.execute(
            "CREATE INDEX IF NOT EXISTS squidmesh_run_states_workflow_idx "
            'ON squidmesh_run_states (status, workflow, "trigger", created_at, run_id)'
        )
        op.execute(
            "CREATE INDEX IF NOT EXISTS squidmesh_branches_lease_idx "
            "ON squidmesh_branches (due_at, status) WHERE status = 'running'"
        )
        return
    op.create_index(
        op.f("squidmesh_run_states_workflow_idx"),
        "squidmesh_run_states",
        ["status", "workflow", "trigger", "created_at", "run_id"],
    )
    op.create_index(
        op.f("squidmesh_branches_lease_idx"),
        "squidmesh_branches",
        ["due_at", "status"],
        sqlite_where=sa.text("status = 'running'"),
    )

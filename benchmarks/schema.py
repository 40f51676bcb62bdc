"""The tables as a host has them: made by the migrations that `flask squidmesh install` copies.

`create_all()` makes the same tables, but without the storage parameters that
keep the narrow ones small under load.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from flask_squidmesh.store.migrations.folder import revisions


def migrate(engine: sa.Engine) -> None:
    """Take the empty database of *engine* through all revisions."""
    with (
        engine.begin() as connection,
        Operations.context(MigrationContext.configure(connection)),
    ):
        for revision in revisions():
            names: dict[str, Any] = {}
            program = compile(revision.render(None), revision.file_name, "exec")
            exec(program, names)  # noqa: S102  # a migration is a program
            names["upgrade"]()

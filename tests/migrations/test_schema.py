"""What the revisions build is what the models describe, on every database."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.schema import CreateIndex, CreateTable

from flask_squidmesh.store import models
from flask_squidmesh.store.migrations.folder import Revision, revisions
from tests.migrations.host import Host

NewHost = Callable[..., Host]


def schema(connection: sa.Connection) -> dict[str, object]:
    """Describe our tables as the database knows them, in comparable values."""
    inspector = sa.inspect(connection)
    return {
        name: {
            "columns": [_column(column) for column in inspector.get_columns(name)],
            "primary key": inspector.get_pk_constraint(name),
            "foreign keys": _by_name(inspector.get_foreign_keys(name)),
            "unique": _by_name(inspector.get_unique_constraints(name)),
            "checks": _by_name(inspector.get_check_constraints(name)),
            "indexes": [
                {**index, "dialect_options": {k: str(v) for k, v in _options(index).items()}}
                for index in _by_name(inspector.get_indexes(name))
            ],
            "comment": connection.dialect.supports_comments and inspector.get_table_comment(name),
        }
        for name in inspector.get_table_names()
        if name.startswith("squidmesh_")
    }


def _column(column: Any) -> dict[str, object]:
    return {**column, "type": repr(column["type"])}


def _options(index: Any) -> dict[str, object]:
    found: dict[str, object] = index.get("dialect_options", {})
    return found


def _by_name(found: Iterable[Any]) -> list[Any]:
    return sorted(found, key=lambda each: str(each["name"]))


def difference(connection: sa.Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    metadata = sa.MetaData()
    models.attach(metadata)
    metadata.reflect(connection, only=["alembic_version"])
    found: list[Any] = compare_metadata(context, metadata)
    return found


def storage_parameters(connection: sa.Connection) -> dict[str, list[str]]:
    """Return the options of all tables of a PostgreSQL that have any."""
    found = sa.text("SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL")
    return {row.relname: row.reloptions for row in connection.execute(found)}


def create_all(connection: sa.Connection) -> None:
    models.METADATA.create_all(connection)
    connection.commit()


def test_migrated_schema_is_that_of_the_models(new_host: NewHost, database_url: str) -> None:
    host = new_host(database_url)
    host.flask("db", "init")
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")
    migrated = host.inspect(schema)
    assert host.inspect(difference) == []

    host.flask("db", "downgrade", "base")
    assert host.inspect(schema) == {}
    host.inspect(create_all)

    assert migrated == host.inspect(schema)
    assert set(migrated) == {table.name for table in models.METADATA.sorted_tables}


def test_hot_tables_are_vacuumed_early_on_postgresql(
    new_host: NewHost, postgres_database_url: str
) -> None:
    host = new_host(postgres_database_url)
    host.flask("db", "init")
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    options = host.inspect(storage_parameters)
    vacuum = {"autovacuum_vacuum_scale_factor=0.01", "autovacuum_vacuum_cost_delay=0"}
    assert {name: set(found) for name, found in options.items() if "squidmesh" in name} == {
        "squidmesh_branches": {"fillfactor=50", *vacuum},
        "squidmesh_run_states": vacuum,
    }


@pytest.mark.parametrize("dialect", ["mysql", "mariadb"])
def test_statements_for_other_servers_are_those_of_the_models(dialect: str) -> None:
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name=dialect, opts={"as_sql": True, "output_buffer": written}
    )
    with Operations.context(context):
        for revision in revisions():
            _load(revision)["upgrade"]()

    expected = [
        str(part.compile(dialect=context.dialect))
        for table in models.METADATA.sorted_tables
        for part in _statements(table)
    ]
    assert _lines(written.getvalue()) == _lines(";\n".join(expected))


def _statements(table: sa.Table) -> list[sa.DDLElement]:
    return [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]


def _lines(statements: str) -> list[str]:
    # A column that a later revision adds is a line of the table's statement in the models.
    statements = re.sub(r"ALTER TABLE \w+ ADD COLUMN ", "", statements)
    statements = re.sub(r"(?s)UPDATE .*?;", "", statements)
    return sorted(filter(None, (line.strip(" \t,;") for line in statements.splitlines())))


def _load(revision: Revision) -> dict[str, Any]:
    module: dict[str, Any] = {}
    exec(compile(revision.render(None), revision.file_name, "exec"), module)  # noqa: S102 - it is a program to be run
    return module


def test_revisions_do_not_change_with_the_installed_release() -> None:
    for revision in revisions():
        tree = ast.parse(revision.render("host1"))
        imported = {
            name.partition(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert imported <= {"alembic", "sqlalchemy"}


def test_revisions_are_numbered_without_gaps() -> None:
    found = [(revision.number, revision.id) for revision in revisions()]
    assert found == [(n, f"sqm{n:04d}") for n in range(1, len(found) + 1)]
    for revision in revisions():
        module = _load(revision)
        assert module["revision"] == revision.id
        assert module["squidmesh_migration"] == revision.number

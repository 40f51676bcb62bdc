"""A host adopts the library: its own commands keep working, on every database."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_squidmesh.store import models
from tests.migrations.host import NAMING, Host
from tests.support.databases import Databases
from tests.support.process import Processes

OURS = {table.name for table in models.METADATA.sorted_tables}

NewHost = Callable[..., Host]


@pytest.mark.parametrize("naming", [None, NAMING], ids=["plain", "naming_convention"])
def test_autogenerate_finds_no_difference_after_install_and_upgrade(
    new_host: NewHost, database_url: str, naming: Mapping[str, str] | None
) -> None:
    host = new_host(database_url, naming=naming)
    host.begin()

    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    assert "No changes in schema detected" in host.flask("db", "migrate")
    assert host.files() == ["host1_invoices.py", "sqm0001_create_tables.py"]
    host.flask("db", "check")
    assert host.tables() == OURS


def test_downgrade_takes_everything_back_and_upgrade_brings_it_again(
    new_host: NewHost, database_url: str
) -> None:
    host = new_host(database_url, naming=NAMING)
    host.begin()
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    host.flask("db", "downgrade", "base")
    assert host.tables() == set()

    host.flask("db", "upgrade")
    assert host.tables() == OURS
    host.flask("db", "check")


def test_history_goes_on_after_our_revision(new_host: NewHost, database_url: str) -> None:
    host = new_host(database_url)
    host.flask("db", "init")
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    host.flask("db", "migrate", "-m", "invoices", "--rev-id", "host1")
    host.flask("db", "upgrade")

    host.flask("db", "check")
    host.flask("db", "downgrade")
    assert host.tables() == OURS
    assert "squidmesh_" not in (host.folder / "migrations/versions/host1_invoices.py").read_text()


def test_in_a_host_with_several_databases_only_the_default_one_gets_the_tables(
    new_host: NewHost, sqlite_databases: Databases
) -> None:
    archive = sqlite_databases.create()
    host = new_host(sqlite_databases.create(), config={"SQLALCHEMY_BINDS": {"archive": archive}})
    host.flask("db", "init", "--multidb")
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    assert host.tables() == OURS
    assert Host(host.folder, archive).tables() == set()
    host.flask("db", "migrate", "-m", "invoices", "--rev-id", "host1")
    host.flask("db", "upgrade")
    host.flask("db", "check")
    host.flask("db", "downgrade", "base")
    assert host.tables() == set()


APP = """
import os

import flask
import flask_migrate
import flask_sqlalchemy
import flask_squidmesh


def create_app():
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["HOST_DATABASE_URL"]
    db = flask_sqlalchemy.SQLAlchemy(app)
    flask_migrate.Migrate(app, db)
    flask_squidmesh.SquidMesh(db=db).init_app(app)
    return app
"""


def test_the_real_commands_in_a_new_application(
    tmp_path: Path, processes: Processes, pytestconfig: pytest.Config, sqlite_databases: Databases
) -> None:
    (tmp_path / "app.py").write_text(APP)
    environment = {
        "HOST_DATABASE_URL": sqlite_databases.create(),
        "PYTHONPATH": os.pathsep.join([str(pytestconfig.rootpath), *filter(None, sys.path)]),
    }

    def flask(*arguments: str) -> str:
        program = (sys.executable, "-m", "flask", *arguments)
        process = processes.start(*program, env=environment, cwd=tmp_path)
        assert process.wait_for_end() == 0, process.log
        return process.log

    flask("db", "init")
    assert flask("squidmesh", "install").splitlines() == [
        "Installed into migrations/versions:",
        "  sqm0001_create_tables.py (after nothing)",
        "Next:",
        "  1. flask db upgrade",
        "  2. commit the new files, they are part of your migrations now",
    ]
    flask("db", "upgrade")
    assert "No changes in schema detected" in flask("db", "migrate")
    assert flask("squidmesh", "install").splitlines() == [
        "Nothing to install, the migrations have everything (sqm0001).",
        "If the database is behind: flask db upgrade",
    ]
    host = Host(tmp_path, environment["HOST_DATABASE_URL"])
    assert host.files() == ["sqm0001_create_tables.py"]
    assert host.tables() == OURS
    assert (
        host.inspect(
            lambda connection: connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        )
        == "sqm0001"
    )

"""A host application in a folder of its own, operated with its own `flask` command."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh.extension import SquidMesh
from flask_squidmesh.store.migrations.folder import InstallReport, MigrationsFolder, Revision
from flask_squidmesh.testing import run_until_idle

NAMING = {
    "ix": "host_ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "host_uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "host_ck_%(table_name)s_%(constraint_name)s",
    "fk": "host_fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "host_pk_%(table_name)s",
}


class Host:
    """An application with a model of its own; *folder* must be the current directory.

    Every command gets a new application, as in real life: Flask-Migrate keeps
    what its first command was.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *,
        naming: Mapping[str, str] | None = None,
        config: Mapping[str, object] | None = None,
        directory: str = "migrations",
    ) -> None:
        self.folder = folder
        self.database_url = database_url
        self.naming = naming
        self.config = dict(config or {})
        self.directory = directory
        self.adopted = True
        """Whether the application uses flask_squidmesh (yet)."""

    def create_app(self) -> Flask:
        app = Flask("host", root_path=str(self.folder))
        app.config.from_mapping(
            self.config,
            SQLALCHEMY_DATABASE_URI=self.database_url,
            SQUIDMESH_DISPATCH="manual",
            SQUIDMESH_WORKFLOWS=["tests.migrations.live_runs"],
        )
        db = SQLAlchemy(metadata=sa.MetaData(naming_convention=self.naming))
        db.init_app(app)
        Migrate(app, db, directory=self.directory)
        sa.Table(
            "invoices",
            db.metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("number", sa.String(20), unique=True),
            sa.Column("amount", sa.Integer, index=True),
        )
        if self.adopted:
            SquidMesh(db=db).init_app(app)
        return app

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run `flask ...`; return its exit code and all it said."""
        app = self.create_app()
        with warnings.catch_warnings():
            # Flask-Migrate's own env.py tries the oldest way to the engine first.
            warnings.filterwarnings("ignore", "'get_engine' is deprecated", DeprecationWarning)
            result = app.test_cli_runner().invoke(args=arguments)
        dispose(app)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def flask(self, *arguments: str) -> str:
        """Run `flask ...`, which must succeed, and return what it said."""
        code, output = self.run(*arguments)
        assert code == 0, output
        return output

    @contextmanager
    def context(self) -> Iterator[None]:
        """Stand in the context of a new application."""
        app = self.create_app()
        try:
            with app.app_context():
                yield
        finally:
            dispose(app)

    def install(self, release: Sequence[Revision]) -> InstallReport:
        """Do what `flask squidmesh install` does in another release of the library."""
        app = self.create_app()
        with app.app_context():
            config = app.extensions["migrate"].migrate.get_config(self.directory)
        return MigrationsFolder(config, release).install()

    def runs_a_workflow(self) -> bool:
        """Start, execute and inspect a run; return whether it has completed."""
        started = self.flask(
            "squidmesh", "start", "greet", "--payload", '{"name": "ada"}', "--json"
        )
        run_id = json.loads(started)["id"]
        with self.context():
            run_until_idle(advance=True)
        run: dict[str, object] = json.loads(self.flask("squidmesh", "inspect", run_id, "--json"))
        assert run["context"] == {"greeting": "hello, ada"}
        return run["status"] == "completed"

    def begin(self) -> None:
        """Give it a migrations folder and a revision, both older than the library's arrival."""
        adopted, self.adopted = self.adopted, False
        self.flask("db", "init")
        self.flask("db", "migrate", "-m", "invoices", "--rev-id", "host1")
        self.adopted = adopted

    def files(self, folder: str | None = None) -> list[str]:
        """List the revision files."""
        versions = self.folder / (folder or f"{self.directory}/versions")
        return sorted(path.name for path in versions.iterdir() if path.name != "__pycache__")

    def tables(self) -> set[str]:
        """Return the names of the library's tables in the database."""
        return {name for name in self.inspect(table_names) if name.startswith("squidmesh_")}

    def inspect(self, look: Any) -> Any:
        """Return what *look* finds through a connection to the database."""
        engine = sa.create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                return look(connection)
        finally:
            engine.dispose()


def dispose(app: Flask) -> None:
    """Close the connections of an application that nobody needs any more."""
    with app.app_context():
        for engine in app.extensions["sqlalchemy"].engines.values():
            engine.dispose()


def table_names(connection: sa.Connection) -> list[str]:
    return sa.inspect(connection).get_table_names()

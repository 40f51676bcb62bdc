"""`flask squidmesh install`: our revisions join the host's migrations."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo, pass_script_info

from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.store.migrations.folder import InstallReport, MigrationsFolder, revisions


def install_migrations(
    app: Flask, *, directory: str | Path | None = None, head: str | None = None
) -> InstallReport:
    """Copy the revisions that are missing into the migrations folder of *app*.

    `directory` overrides the folder that Flask-Migrate was given, `head` names
    the revision to continue when there are several heads. A repeat adds
    nothing. Raises `ConfigError`, having written nothing, when it can not be done.
    """
    return _folder(app, directory).install(head=head)


def missing_migrations(app: Flask, *, directory: str | Path | None = None) -> tuple[str, ...]:
    """List the ids of the revisions that the migrations folder of *app* does not have yet."""
    return tuple(revision.id for revision in _folder(app, directory).missing())


def _folder(app: Flask, directory: str | Path | None) -> MigrationsFolder:
    host = _host(app)
    # Flask-Migrate looks into flask.g for the options of its own commands.
    with app.app_context():
        config = host.migrate.get_config(os.fspath(directory or host.directory))
    return MigrationsFolder(config, revisions(), command=f"flask {host.migrate.command}")


def _host(app: Flask) -> Any:
    """Return what Flask-Migrate keeps for *app*."""
    try:
        return app.extensions["migrate"]
    except KeyError:
        raise ConfigError(
            missing=["migrate"],
            reasons={
                "migrate": "Flask-Migrate is not initialised for this application; create "
                "migrate = Migrate() and call migrate.init_app(app, db) in its factory"
            },
            summary="the tables can not be installed:",
        ) from None


@click.command("install")
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False),
    help="Migrations folder; by default the one Flask-Migrate uses.",
)
@click.option("--head", metavar="REV", help="Head to continue, when there are several.")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 when a revision is missing.")
@pass_script_info
def install(info: ScriptInfo, *, directory: str | None, head: str | None, check: bool) -> None:
    """Copy the library's migrations into this application's.

    Those that are missing are written on top of the head of the migrations
    folder; run it again after an upgrade of the library and it adds only the
    new ones. No database is needed. In CI, --check tells whether somebody
    forgot.

    \b
    Examples:
      flask squidmesh install && flask db upgrade
      flask squidmesh install --check
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    app = info.load_app()
    try:
        if check:
            _check(app, directory)
        else:
            _install(app, directory, head)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def _check(app: Flask, directory: str | None) -> None:
    if missing := missing_migrations(app, directory=directory):
        raise click.ClickException(
            f"missing migrations: {', '.join(missing)}; "
            f"run 'flask squidmesh install{_option(directory)}'"
        )
    click.echo("No migration is missing.")


def _install(app: Flask, directory: str | None, head: str | None) -> None:
    report = install_migrations(app, directory=directory, head=head)
    upgrade = f"flask {_host(app).migrate.command} upgrade"
    if len(report.heads) > 1:
        # Alembic's own default is the only head there is.
        upgrade += " heads"
    upgrade += _option(directory)
    if not report.added:
        click.echo(
            f"Nothing to install, the migrations have everything ({', '.join(report.present)})."
        )
        click.echo(f"If the database is behind: {upgrade}")
        return
    folder = report.folder
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    click.echo(f"Installed into {click.format_filename(folder)}:")
    below = report.after or "nothing"
    for path in report.added:
        click.echo(f"  {path.name} (after {below})")
        below, _, _ = path.name.partition("_")
    click.echo("Next:")
    click.echo(f"  1. {upgrade}")
    click.echo("  2. commit the new files, they are part of your migrations now")


def _option(directory: str | None) -> str:
    """Return what has to be added to a command so that it finds the same folder."""
    return "" if directory is None else f" --directory {shlex.quote(directory)}"

"""A host adopts the library: its own commands keep working and workflows run, on every database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flask_squidmesh.store import models
from flask_squidmesh.store.migrations.folder import revisions
from tests.migrations.host import NAMING, Host
from tests.support.databases import Databases

OURS = {table.name for table in models.METADATA.sorted_tables}
IDS = [revision.id for revision in revisions()]
FILES = [revision.file_name for revision in revisions()]
NO_CHANGES = "No changes in schema detected"

NewHost = Callable[..., Host]


def test_fresh_application_is_led_from_the_first_command_to_a_run(
    new_host: NewHost, database_url: str
) -> None:
    host = new_host(database_url)
    assert "run 'flask db init' first" in host.run("squidmesh", "install")[1]
    host.flask("db", "init")
    assert host.flask("squidmesh", "install").splitlines() == [
        "Installed into migrations/versions:",
        *(
            f"  {name} (after {below})"
            for name, below in zip(FILES, ["nothing", *IDS], strict=False)
        ),
        "Next:",
        "  1. flask db upgrade",
        "  2. commit the new files, they are part of your migrations now",
    ]
    # The next command says what is missing until the database has it.
    assert (
        "run 'flask squidmesh install' and 'flask db upgrade'" in host.run("squidmesh", "runs")[1]
    )
    host.flask("db", "upgrade")

    assert host.runs_a_workflow()
    assert host.flask("squidmesh", "install").splitlines() == [
        f"Nothing to install, the migrations have everything ({', '.join(IDS)}).",
        "If the database is behind: flask db upgrade",
    ]
    # The host's own history begins, or goes on, above ours.
    host.flask("db", "migrate", "-m", "invoices", "--rev-id", "host1")
    assert "squidmesh_" not in (host.folder / "migrations/versions/host1_invoices.py").read_text()
    host.flask("db", "upgrade")
    host.flask("db", "check")
    host.flask("db", "downgrade")
    assert host.runs_a_workflow()


@pytest.mark.parametrize("naming", [None, NAMING], ids=["plain", "naming_convention"])
def test_autogenerate_finds_no_difference_after_install_and_upgrade(
    new_host: NewHost, database_url: str, naming: Mapping[str, str] | None
) -> None:
    host = new_host(database_url, naming=naming)
    host.begin()

    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    assert NO_CHANGES in host.flask("db", "migrate")
    assert host.files() == ["host1_invoices.py", *FILES]
    host.flask("db", "check")
    assert host.tables() == OURS
    assert host.runs_a_workflow()


def test_downgrade_takes_everything_back_and_upgrade_brings_it_again(
    new_host: NewHost, database_url: str
) -> None:
    host = new_host(database_url, naming=NAMING)
    host.begin()
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")
    assert host.runs_a_workflow()

    host.flask("db", "downgrade", "host1")
    assert host.tables() == set()

    host.flask("db", "upgrade")
    assert host.tables() == OURS
    host.flask("db", "check")
    assert host.runs_a_workflow()


def test_autogenerate_before_install_is_put_right_as_the_refusal_says(new_host: NewHost) -> None:
    host = new_host(f"sqlite:///{Path.cwd()}/host.sqlite3")
    host.flask("db", "init")
    host.flask("db", "migrate", "-m", "too early", "--rev-id", "host1")

    code, said = host.run("squidmesh", "install")
    assert (code, "host1_too_early.py creates tables of flask_squidmesh (" in said) == (1, True)
    assert "remove them from that file, or delete it, and install again" in said
    (host.folder / "migrations/versions/host1_too_early.py").unlink()
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    assert host.runs_a_workflow()


def test_several_heads_are_merged_as_the_refusal_says(new_host: NewHost) -> None:
    host = with_two_heads(new_host)

    code, said = host.run("squidmesh", "install")
    assert (code, "run 'flask db merge heads' first" in said) == (1, True)
    host.flask("db", "merge", "heads", "--rev-id", "merged")
    assert f"  {FILES[0]} (after merged)\n" in host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    assert host.runs_a_workflow()
    host.flask("db", "check")
    host.flask("db", "downgrade", "merged")
    assert host.tables() == set()


def test_one_of_several_heads_is_continued_when_chosen(new_host: NewHost) -> None:
    host = with_two_heads(new_host)

    assert "  1. flask db upgrade heads\n" in host.flask("squidmesh", "install", "--head", "left")
    assert host.run("db", "upgrade")[0] == 1
    host.flask("db", "upgrade", "heads")

    assert host.runs_a_workflow()
    # Merging later is as well.
    host.flask("db", "merge", "heads", "--rev-id", "merged")
    host.flask("db", "upgrade")
    assert NO_CHANGES in host.flask("db", "migrate")


def with_two_heads(new_host: NewHost) -> Host:
    """Make a host of which two people have continued the history."""
    host = new_host(f"sqlite:///{Path.cwd()}/host.sqlite3")
    host.begin()
    for name in ("left", "right"):
        host.flask("db", "revision", "--rev-id", name, "--head", "host1", "--splice")
    return host


@pytest.mark.parametrize("given", ["to Flask-Migrate", "to the commands"])
def test_custom_folder_for_the_migrations(new_host: NewHost, given: str) -> None:
    url = f"sqlite:///{Path.cwd()}/host.sqlite3"
    option: tuple[str, ...] = ()
    if given == "to Flask-Migrate":
        host = new_host(url, directory="schema/history")
    else:
        host = new_host(url)
        option = ("--directory", "schema/history")

    host.flask("db", "init", *option)
    said = host.flask("squidmesh", "install", *option)
    assert said.splitlines()[0] == "Installed into schema/history/versions:"
    assert f"  1. {' '.join(('flask db upgrade', *option))}\n" in said
    host.flask("db", "upgrade", *option)

    assert host.files("schema/history/versions") == FILES
    assert host.runs_a_workflow()
    assert "Nothing to install" in host.flask("squidmesh", "install", *option)
    host.flask("db", "downgrade", "base", *option)
    assert host.tables() == set()


def test_in_a_host_with_several_databases_only_the_default_one_gets_the_tables(
    new_host: NewHost, database_url: str, sqlite_databases: Databases
) -> None:
    archive = sqlite_databases.create()
    host = new_host(database_url, config={"SQLALCHEMY_BINDS": {"archive": archive}})
    host.flask("db", "init", "--multidb")
    host.flask("squidmesh", "install")
    host.flask("db", "upgrade")

    assert host.tables() == OURS
    assert Host(host.folder, archive).tables() == set()
    assert host.runs_a_workflow()
    host.flask("db", "migrate", "-m", "invoices", "--rev-id", "host1")
    host.flask("db", "upgrade")
    host.flask("db", "check")
    host.flask("db", "downgrade", "base")
    assert host.tables() == set()
    sqlite_databases.drop(archive)


@pytest.mark.parametrize("change", ["squashed", "renamed"])
def test_revisions_that_the_host_has_made_its_own(
    new_host: NewHost, database_url: str, change: str
) -> None:
    host = new_host(database_url)
    host.begin()
    host.flask("squidmesh", "install")
    versions = host.folder / "migrations/versions"
    if change == "squashed":
        host.flask("db", "upgrade")
        squash(host)
    else:
        # Named after the host's fashion, file and id; the line that counts is still there.
        last = versions / FILES[-1]
        text = last.read_text().replace(f'revision = "{IDS[-1]}"', 'revision = "20261102"')
        (versions / "2026_11_02_squidmesh.py").write_text(text)
        last.unlink()
        host.flask("db", "upgrade")

    assert "Nothing to install" in host.flask("squidmesh", "install")
    host.flask("squidmesh", "install", "--check")
    assert NO_CHANGES in host.flask("db", "migrate")
    assert host.runs_a_workflow()
    host.flask("db", "downgrade", "base")
    assert host.tables() == set()
    host.flask("db", "upgrade")
    assert host.runs_a_workflow()


def squash(host: Host) -> None:
    """Put a single revision, made by autogenerate, in the place of all there are."""
    host.flask("db", "downgrade", "base")
    for name in host.files():
        (host.folder / "migrations/versions" / name).unlink()
    host.flask("db", "migrate", "--rev-id", "all")
    (written,) = (host.folder / "migrations/versions").glob("*.py")
    text = written.read_text()
    for line, more in (
        # What Alembic leaves to people wherever a type is not one of SQLAlchemy's generic ones.
        (
            "import sqlalchemy as sa",
            "import flask_squidmesh\nfrom sqlalchemy.dialects import mysql",
        ),
        ("depends_on = None", f"squidmesh_migration = {len(IDS)}"),
    ):
        text = text.replace(line, f"{line}\n{more}")
    written.write_text(text)
    host.flask("db", "upgrade")


def test_statements_can_be_written_for_a_database_administrator(
    new_host: NewHost, postgres_database_url: str
) -> None:
    host = new_host(postgres_database_url)
    host.flask("db", "init")
    host.flask("squidmesh", "install")

    statements = host.flask("db", "upgrade", "--sql")

    assert [name for name in OURS if f"CREATE TABLE {name} (" not in statements] == []
    assert host.tables() == set()

"""`flask squidmesh install`: what it adds, what it refuses, and what it says.

The database of these hosts does not exist: installing reads and writes files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.config import Config
from flask import Flask

from flask_squidmesh.cli.install import install_migrations, missing_migrations
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.store.migrations.folder import MigrationsFolder, Revision, revisions
from tests.migrations.host import Host

NewHost = Callable[..., Host]

IDS = [revision.id for revision in revisions()]
FILES = [revision.file_name for revision in revisions()]
FIRST = FILES[0]
REVISION = """
revision = {revision!r}
down_revision = {down_revision!r}
{more}
def upgrade(): pass
def downgrade(): pass
"""


@pytest.fixture
def host(new_host: NewHost) -> Host:
    """A host with a migrations folder that holds no revision."""
    made = new_host()
    made.flask("db", "init")
    return made


def place(
    host: Host,
    revision: str,
    down_revision: str | None,
    *,
    more: str = "",
    folder: str = "versions",
) -> Path:
    """Add a revision that the host has written."""
    path = host.folder / "migrations" / folder / f"{revision}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(REVISION.format(revision=revision, down_revision=down_revision, more=more))
    return path


def chain(host: Host) -> dict[str, str | None]:
    """Return what each installed revision of ours follows."""
    found = {}
    for path in host.folder.rglob("sqm*.py"):
        module: dict[str, str | None] = {}
        exec(path.read_text(), module)  # noqa: S102 - it is a program to be run
        found[str(module["revision"])] = module["down_revision"]
    return found


def chained(below: str | None) -> dict[str, str | None]:
    """Return what `chain` finds when all our revisions follow *below*."""
    return dict(zip(IDS, [below, *IDS], strict=False))


def test_begins_a_history_that_is_empty(host: Host) -> None:
    report = install_migrations(host.create_app())

    assert report.added == tuple(host.folder / "migrations/versions" / name for name in FILES)
    assert (report.after, report.present, report.heads) == (None, (), (IDS[-1],))
    assert chain(host) == chained(None)


def test_continues_the_head_of_the_host(host: Host) -> None:
    place(host, "host1", None)
    place(host, "host2", "host1")

    assert "  sqm0001_create_tables.py (after host2)" in host.flask("squidmesh", "install")
    assert chain(host) == chained("host2")


def test_second_installation_adds_nothing(host: Host) -> None:
    host.flask("squidmesh", "install")
    place(host, "host1", IDS[-1])
    before = {path: path.read_text() for path in host.folder.rglob("*.py")}

    report = install_migrations(host.create_app())

    assert (report.added, report.present, report.heads) == ((), tuple(IDS), ("host1",))
    assert {path: path.read_text() for path in host.folder.rglob("*.py")} == before


def later(*slugs: str) -> list[Revision]:
    """Return the revisions of releases to come; they do what the first one does."""
    known = revisions()
    added = (
        replace(known[0], number=number, slug=slug)
        for number, slug in enumerate(slugs, start=len(known) + 1)
    )
    return [*known, *added]


def test_a_later_release_adds_only_its_new_revisions(host: Host) -> None:
    host.flask("squidmesh", "install")
    place(host, "host1", IDS[-1])
    release = later("b", "c")
    b, c = (revision.id for revision in release[-2:])

    folder = MigrationsFolder(_config(host), release)
    assert [revision.id for revision in folder.missing()] == [b, c]
    report = folder.install()

    assert [path.name for path in report.added] == [f"{b}_b.py", f"{c}_c.py"]
    assert (report.present, report.heads) == (tuple(IDS), (c,))
    assert chain(host) == {**chained(None), b: "host1", c: b}
    assert MigrationsFolder(_config(host), release).missing() == ()


def test_a_squashed_history_that_keeps_the_marker_is_complete(host: Host) -> None:
    place(host, "squashed", None, more=f"squidmesh_migration = {len(IDS)}\n")

    assert missing_migrations(host.create_app()) == ()
    assert install_migrations(host.create_app()).added == ()


def test_env_py_is_not_run(host: Host) -> None:
    (host.folder / "migrations/env.py").write_text("raise SystemExit('must not run')")

    host.flask("squidmesh", "install")
    host.flask("squidmesh", "install", "--check")


def test_check_tells_ci_and_writes_nothing(host: Host) -> None:
    assert host.run("squidmesh", "install", "--check") == (
        1,
        f"Error: missing migrations: {', '.join(IDS)}; run 'flask squidmesh install'\n",
    )
    assert host.files() == []
    host.flask("squidmesh", "install")
    assert host.flask("squidmesh", "install", "--check") == "No migration is missing.\n"


def test_several_heads_are_refused_until_merged_or_chosen(host: Host) -> None:
    place(host, "host1", None)
    place(host, "left", "host1")
    place(host, "right", "host1")

    code, said = host.run("squidmesh", "install")
    assert code == 1
    assert "several heads (left, right); run 'flask db merge heads' first, or" in said
    assert chain(host) == {}

    said = host.flask("squidmesh", "install", "--head", "righ")
    assert f"  {FIRST} (after right)\n" in said
    # Alembic refuses to guess among several heads.
    assert "  1. flask db upgrade heads\n" in said
    assert chain(host) == chained("right")
    assert "flask db upgrade heads" in host.flask("squidmesh", "install")


def test_later_revisions_follow_the_head_that_has_the_earlier_ones(host: Host) -> None:
    place(host, "left", None)
    place(host, "right", None)
    install_migrations(host.create_app(), head="right")
    place(host, "right2", IDS[-1])
    release = later("b")
    folder = MigrationsFolder(_config(host), release)

    with pytest.raises(ConfigError, match=r"--head left does not follow .* choose right2, or run"):
        folder.install(head="left")
    report = folder.install()

    assert (report.after, report.heads) == ("right2", ("left", release[-1].id))
    assert chain(host) == {**chained("right"), release[-1].id: "right2"}


def test_several_heads_above_the_earlier_revisions_are_refused(host: Host) -> None:
    host.flask("squidmesh", "install")
    place(host, "left", IDS[-1])
    place(host, "right", IDS[-1])

    with pytest.raises(ConfigError, match=r"several heads \(left, right\)"):
        MigrationsFolder(_config(host), later("b")).install()


@pytest.mark.parametrize("head", ["host1", "base", "nowhere", "heads"])
def test_only_a_head_can_be_continued(host: Host, head: str) -> None:
    place(host, "host1", None)
    place(host, "host2", "host1")
    place(host, "host3", "host1")

    code, said = host.run("squidmesh", "install", "--head", head)

    assert code == 1
    assert f"--head {head} is not" in said
    assert "heads are: host2, host3" in said
    assert chain(host) == {}


def test_without_a_migrations_folder_the_way_to_one_is_shown(new_host: NewHost) -> None:
    host = new_host()
    assert host.run("squidmesh", "install") == (
        1,
        (
            "Error: there are no migrations in 'migrations' to install into; "
            "run 'flask db init' first, or name the folder with --directory\n"
        ),
    )
    (host.folder / "migrations").mkdir()
    assert host.run("squidmesh", "install")[0] == 1
    assert list(host.folder.rglob("*.py")) == []
    host.flask("db", "init")
    host.flask("squidmesh", "install")


def test_without_flask_migrate_the_remedy_is_named() -> None:
    with pytest.raises(ConfigError, match=r"call migrate\.init_app\(app, db\)") as caught:
        install_migrations(Flask("host"))
    assert caught.value.missing == ["migrate"]


def test_custom_folder_of_the_application(new_host: NewHost) -> None:
    host = new_host(directory="schema/history")
    assert (
        "run 'flask db init --directory schema/history' first"
        in host.run("squidmesh", "install")[1]
    )
    host.flask("db", "init")

    host.flask("squidmesh", "install")

    assert host.files("schema/history/versions") == FILES


def test_custom_folder_of_the_command(new_host: NewHost) -> None:
    host = new_host()
    elsewhere = ("--directory", "else where")
    host.flask("db", "init", *elsewhere)
    code, said = host.run("squidmesh", "install", "--check", *elsewhere)
    assert (code, "run 'flask squidmesh install --directory " in said) == (1, True)

    said = host.flask("squidmesh", "install", *elsewhere)

    assert "  1. flask db upgrade --directory 'else where'\n" in said
    assert host.files("else where/versions") == FILES
    host.flask("squidmesh", "install", "--check", "-d", "else where")


def test_several_version_locations(host: Host) -> None:
    ini = host.folder / "migrations/alembic.ini"
    ini.write_text(
        ini.read_text().replace(
            "[alembic]\n",
            "[alembic]\npath_separator = space\n"
            "version_locations = migrations/versions migrations/more\n",
        )
    )
    code, said = host.run("squidmesh", "install")
    assert code == 1
    assert "several version_locations and no revision yet" in said

    place(host, "host1", None, folder="more")
    host.flask("squidmesh", "install")

    assert host.files("migrations/more") == ["host1.py", *FILES]


def test_folder_for_revisions_is_made_when_git_has_dropped_it(host: Host) -> None:
    (host.folder / "migrations/versions").rmdir()

    host.flask("squidmesh", "install")

    assert host.files() == FILES


def test_tables_that_autogenerate_has_created_before_are_refused(host: Host) -> None:
    created = """op.create_table('squidmesh_runs', sa.Column("id"))"""
    place(host, "host1", None, more=f'"""{created}"""')

    code, said = host.run("squidmesh", "install")

    assert code == 1
    assert "host1.py creates tables of flask_squidmesh (squidmesh_runs)" in said
    assert chain(host) == {}


def test_a_file_that_lost_its_marker_is_not_overwritten(host: Host) -> None:
    host.flask("squidmesh", "install")
    path = host.folder / "migrations/versions" / FILES[-1]
    below = chain(host)[IDS[-1]]
    path.write_text(REVISION.format(revision=IDS[-1], down_revision=below, more=""))
    before = path.read_text()

    code, said = host.run("squidmesh", "install")

    assert code == 1
    assert "no longer says 'squidmesh_migration'" in said
    assert path.read_text() == before


def test_a_folder_that_can_not_be_written_leaves_nothing_half_done(host: Host) -> None:
    versions = host.folder / "migrations/versions"
    versions.rmdir()
    versions.write_text("not a folder")

    code, said = host.run("squidmesh", "install")

    assert code == 1
    assert "can not write" in said
    assert [*host.folder.rglob("*.partial")] == []


def test_a_history_that_is_broken_is_named(host: Host) -> None:
    place(host, "host1", None, more="revision = 'bad-id'\n")

    code, said = host.run("squidmesh", "install")

    assert code == 1
    assert "mend them until 'flask db history' works" in said


def _config(host: Host) -> Config:
    app = host.create_app()
    with app.app_context():
        config: Config = app.extensions["migrate"].migrate.get_config("migrations")
    return config

"""A host upgrades from any release of the library to the newest, while its runs are under way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import flask_squidmesh.store.migrations
from flask_squidmesh.store import models
from flask_squidmesh.store.migrations.folder import Revision, revisions
from tests.migrations import live_runs
from tests.migrations.host import Host
from tests.migrations.live_runs import LIVE
from tests.migrations.test_schema import create_all, schema
from tests.support.databases import Databases

NewHost = Callable[..., Host]

IDS = [revision.id for revision in revisions()]
RELEASES = [revision.number for revision in revisions()]
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "${revision}"
down_revision = ${down_revision}
branch_labels = None
depends_on = None
squidmesh_migration = ${number}


def upgrade(engine_name: str = "") -> None:
    if engine_name:
        return
    column = sa.Column("colour", sa.String(10), server_default="grey", nullable=False)
    op.add_column("squidmesh_runs", column)
    op.create_index(op.f("squidmesh_runs_colour_idx"), "squidmesh_runs", ["colour"])


def downgrade(engine_name: str = "") -> None:
    if engine_name:
        return
    op.drop_index(op.f("squidmesh_runs_colour_idx"), "squidmesh_runs")
    op.drop_column("squidmesh_runs", "colour")
"""


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Revision, ...]:
    """The templates of this release, and one that a release to come might add."""
    shipped = Path(flask_squidmesh.store.migrations.__file__).parent
    folder = tmp_path_factory.mktemp("templates")
    for template in shipped.glob("*.template"):
        shutil.copy(template, folder)
    (folder / f"{RELEASES[-1] + 1:04d}_add_colour.py.template").write_text(NEXT)
    return revisions(folder)


@pytest.fixture
def seeded(databases: Databases, new_host: NewHost) -> Iterator[Host]:
    """A host with the newest tables, in which this release has brought runs everywhere."""
    host = new_host(databases.create())
    host.inspect(create_all)
    with host.context():
        live_runs.begin_all()
        assert live_runs.standing() == {
            workflow.name: (run, step) for workflow, (run, step, _) in LIVE.items()
        }
    yield host
    databases.drop(host.database_url)


@pytest.mark.parametrize("number", RELEASES)
def test_live_runs_go_on_after_the_upgrade_from_each_release(
    new_host: NewHost,
    database_url: str,
    seeded: Host,
    next_release: tuple[Revision, ...],
    number: int,
) -> None:
    host = new_host(database_url)
    host.begin()
    host.install(next_release[:number])
    host.flask("db", "upgrade")
    before = host.inspect(schema)
    copy_rows(seeded, host)
    host.flask("db", "revision", "-m", "the host's own", "--rev-id", "host2")

    # To this release, as its users do it ...
    said = host.flask("squidmesh", "install")
    assert [each for each in IDS[number:] or IDS if each not in said] == []
    host.flask("db", "upgrade")
    host.flask("db", "check")
    # ... and to the one after it, whose tables this release's workers have to bear.
    report = host.install(next_release)
    assert [path.name for path in report.added] == [next_release[-1].file_name]
    host.flask("db", "upgrade")
    assert known(host) == known(seeded)

    host.flask("db", "downgrade", next_release[number - 1].id)
    assert host.inspect(schema) == before
    host.flask("db", "upgrade")
    assert known(host) == known(seeded)
    with host.context():
        assert live_runs.end_all() == {
            **{workflow.name: end for workflow, (_, _, end) in LIVE.items()},
            live_runs.Nightly.name: "completed",
        }
    assert host.runs_a_workflow()


def known(host: Host) -> object:
    """Return all that the library knows of the runs in the host's database."""
    with host.context():
        # The same key is the same run, also after the upgrade.
        return live_runs.everything(), live_runs.start_all(LIVE)


def copy_rows(source: Host, target: Host) -> None:
    """Copy the library's rows into the tables of another release, as far as it has the columns."""
    there, here = sa.MetaData(), sa.MetaData()
    source.inspect(there.reflect)
    target.inspect(here.reflect)
    for table in models.METADATA.sorted_tables:
        if table.name not in here.tables:
            continue
        old, new = here.tables[table.name], there.tables[table.name]
        columns = [column for column in new.columns if column.name in old.columns]
        rows = source.inspect(lambda c, found=columns: read(c, found))
        if rows:
            target.inspect(lambda c, into=old, found=rows: write(c, into, found))


def read(connection: sa.Connection, columns: list[sa.Column[Any]]) -> list[dict[str, Any]]:
    rows = connection.execute(sa.select(*columns)).mappings()
    return [dict(row) for row in rows]


def write(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    connection.execute(table.insert(), rows)
    connection.commit()

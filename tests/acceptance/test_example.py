"""The example in the repository is what its own commands would make of it today."""

from __future__ import annotations

import shutil
from pathlib import Path

from minimal_host_app.factory import MIGRATIONS, create_app

from flask_squidmesh.cli.install import install_migrations


def test_installed_migrations_are_those_of_this_release(tmp_path: Path):
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("sqm*.py", "__pycache__"))
    report = install_migrations(create_app({"DATABASE_URL": "sqlite://"}), directory=folder)
    committed = MIGRATIONS / "versions"
    assert {path.name for path in report.added} == {path.name for path in committed.glob("sqm*.py")}
    for path in report.added:
        assert (committed / path.name).read_text() == path.read_text(), (
            f"{path.name} has changed: delete it from {committed}, then run "
            "'flask --app minimal_host_app squidmesh install'"
        )

"""The application on a database of its own, without workers: tests say when work is done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade

from minimal_host_app.accounts import add_seed
from minimal_host_app.extensions import close_database
from minimal_host_app.factory import create_app
from minimal_host_app.gateway import Gateway


@pytest.fixture(scope="session")
def seeded_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that was migrated and seeded once, to be copied."""
    path = tmp_path_factory.mktemp("database") / "seeded.sqlite3"
    app = create_app({"DATABASE_URL": f"sqlite:///{path}"})
    with app.app_context():
        upgrade()
        add_seed()
    close_database(app)
    return path


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(failures=2) as running:
        yield running


@pytest.fixture
def app(seeded_database: Path, tmp_path: Path, gateway: Gateway) -> Iterator[Flask]:
    path = shutil.copy(seeded_database, tmp_path / "host_app.sqlite3")
    app = create_app(
        {
            "DATABASE_URL": f"sqlite:///{path}",
            "GATEWAY_URL": gateway.url,
            "SQUIDMESH_DISPATCH": "manual",
            "TESTING": True,
        }
    )
    yield app
    close_database(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()

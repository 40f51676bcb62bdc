"""Puts the application together.

Settings come from environment variables that begin with HOST_APP_, such as
HOST_APP_DATABASE_URL, HOST_APP_BROKER_URL, HOST_APP_GATEWAY_URL or any of
HOST_APP_SQUIDMESH_...; values are read as JSON where they are JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from flask_squidmesh import sqlite
from minimal_host_app import commands, people, refusals, views
from minimal_host_app.background import celery_init_app
from minimal_host_app.extensions import db, migrate, squidmesh
from minimal_host_app.settings import DEFAULTS

MIGRATIONS = Path(__file__).with_name("migrations")


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Create the application; *config* wins over the environment."""
    app = Flask("minimal_host_app")
    app.config.from_mapping(DEFAULTS)
    app.config.from_prefixed_env("HOST_APP")
    app.config.from_mapping(config)
    app.config["SQLALCHEMY_DATABASE_URI"] = app.config["DATABASE_URL"]
    app.config["CELERY"] = {
        "broker_url": app.config["BROKER_URL"],
        "broker_connection_retry_on_startup": True,
        "task_ignore_result": True,
        "worker_prefetch_multiplier": 1,
    }

    db.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS))
    celery_init_app(app)
    squidmesh.init_app(app)
    views.init_app(app)
    people.init_app(app)
    refusals.init_app(app)
    commands.init_app(app, create_app)
    with app.app_context():
        sqlite.configure(db.engine)
    return app

"""`flask --app tests.cli.host_app`: an application for commands in processes of their own."""

from __future__ import annotations

import json
import os

from celery import Celery
from flask import Flask

from flask_squidmesh import SquidMesh
from tests.contract.host import db


def create_app() -> Flask:
    app = Flask("tests.cli")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
        SQUIDMESH_WORKFLOWS=["tests.cli.workflows"],
        **json.loads(os.environ.get("MORE_CONFIG", "{}")),
    )
    broker_url = os.environ.get("BROKER_URL")
    if broker_url is None:
        app.config["SQUIDMESH_DISPATCH"] = "manual"
    else:
        app.extensions["celery"] = Celery("tests.cli", broker=broker_url, set_as_current=False)
    db.init_app(app)
    SquidMesh(app, db=db)
    return app

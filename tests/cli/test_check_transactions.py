"""The doctor finds an engine whose statements are committed one by one."""

from __future__ import annotations

import json

from flask import Flask

from flask_squidmesh import SquidMesh
from flask_squidmesh.sqlite import configure
from tests.cli.conftest import Shell
from tests.contract.host import db


def findings_for(url: str, **options: object) -> str:
    app = Flask("autocommit")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS=options,
        SQUIDMESH_DISPATCH="manual",
    )
    db.init_app(app)
    SquidMesh(app, db=db)
    with app.app_context():
        configure(db.engine)
        try:
            said = Shell(app)("check", "--json")
            found = [f for f in json.loads(said.out)["findings"] if f["check"] == "transactions"]
            return " ".join(f"{f['status']}: {f['message']} -> {f['remedy']}" for f in found)
        finally:
            db.engine.dispose()


def test_autocommit_is_found_where_it_is_configured(database_url: str):
    assert findings_for(database_url) == ""
    found = findings_for(database_url, isolation_level="AUTOCOMMIT")
    assert found.startswith("problem: ")
    assert "SQLALCHEMY_ENGINE_OPTIONS" in found
    assert findings_for(database_url, execution_options={"isolation_level": "AUTOCOMMIT"}) == found

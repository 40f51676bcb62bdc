"""A child never talks through its parent's database connections."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORKS = """
import os, sys
import flask, flask_sqlalchemy
import sqlalchemy as sa
from flask_squidmesh import dispatch

app = flask.Flask("forks")
app.config["SQLALCHEMY_DATABASE_URI"] = sys.argv[1]
db = flask_sqlalchemy.SQLAlchemy(app)
dispatch.install(app)

def ask(statement):
    with db.engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        return result.scalar() if result.returns_rows else None

def in_a_child(check):
    child = os.fork()
    if child == 0:
        os._exit(0 if check() else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0
"""

CONNECTIONS = """
with app.app_context():
    mine = ask("SELECT pg_backend_pid()")
    assert in_a_child(lambda: ask("SELECT pg_backend_pid()") not in (None, mine))
    assert ask("SELECT pg_backend_pid()") == mine
"""

MEMORY = """
with app.app_context():
    ask("CREATE TABLE animals (name VARCHAR)")
    ask("INSERT INTO animals VALUES ('squid')")
    assert in_a_child(lambda: ask("SELECT name FROM animals") == "squid")
    assert ask("SELECT name FROM animals") == "squid"
"""


def run(script, url, *, cwd):
    done = subprocess.run(
        [sys.executable, "-c", FORKS + script, url],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_child_opens_its_own_connections_and_the_parent_keeps_its(
    postgres_database_url, pytestconfig
):
    run(CONNECTIONS, postgres_database_url, cwd=pytestconfig.rootpath)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"], ids=["plain", "named"])
def test_database_in_memory_is_kept(url, pytestconfig):
    run(MEMORY, url, cwd=pytestconfig.rootpath)

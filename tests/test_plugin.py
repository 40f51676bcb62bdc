"""The pytest plugin, as the tests of an application use it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

APPLICATION = """
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import SquidMesh, Workflow, complete, manual, step, wait

db, squidmesh = SQLAlchemy(), SquidMesh()


@squidmesh.register
class Greeting(Workflow):
    go = manual()
    rest = wait(seconds=3600)
    greet = step(lambda context: {"greeted": True})
    transitions = [rest >> greet >> complete]


@pytest.fixture
def app(tmp_path):
    app = Flask("application")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/app.sqlite3"
    app.config["SQUIDMESH_DISPATCH"] = "manual"
    db.init_app(app)
    squidmesh.init_app(app, db=db)
    with app.app_context():
        db.create_all()
    return app
"""

TESTS = """
import sys
from datetime import timedelta

from flask import has_app_context
from flask_squidmesh import testing
from test_application import Greeting, squidmesh, app


def test_run_is_executed_and_returned_with_its_history(squidmesh_run):
    run = squidmesh_run(Greeting)
    assert (run.status, run.current_step) == ("running", "rest")
    assert [found.step for found in run.step_runs] == ["rest"]


def test_time_is_moved_on_when_asked(squidmesh_run):
    assert squidmesh_run("greeting", advance=True).context == {"greeted": True}


def test_clock_moves_the_application(squidmesh_clock, squidmesh_run):
    begun = squidmesh_clock.now
    run = squidmesh_run(Greeting)
    squidmesh_clock.advance(seconds=3600)
    testing.run_until_idle()
    run = squidmesh.inspect_run(run.id)
    assert (run.status, run.finished_at - begun) == ("completed", timedelta(hours=1))


def test_others_are_left_alone():
    assert not has_app_context()
"""


@pytest.fixture
def run_pytest(process, tmp_path):
    """Run pytest with the plugin on files of an application, and return what it said."""

    def run(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        ran = process(
            sys.executable,
            *("-m", "pytest", "-p", "flask_squidmesh_pytest", "-p", "no:cacheprovider"),
            *("-p", "no:randomly", "-q", "--rootdir", str(tmp_path), str(tmp_path)),
            env={"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
        )
        ran.wait_for_end(timeout=60)
        return ran.log

    return run


def test_fixtures_work_in_the_tests_of_an_application(run_pytest):
    said = run_pytest(test_application=APPLICATION, test_greeting=TESTS)
    assert "4 passed" in said, said


def test_without_an_application_the_fixture_says_what_to_do(run_pytest):
    said = run_pytest(test_alone="def test_it(squidmesh_clock):\n    pass\n")
    assert "squidmesh_clock needs an application context" in said, said
    assert "1 error" in said or "1 failed" in said, said


def test_nothing_is_loaded_before_a_test_asks(run_pytest):
    body = "import sys\n\n\ndef test_it():\n    assert 'celery' not in sys.modules\n"
    assert "1 passed" in run_pytest(test_other=body)

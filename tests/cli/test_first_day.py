"""What a user meets on the first day: every message names the mistake and the remedy."""

from __future__ import annotations

import logging

import pytest
from celery import Celery
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import (
    ConfigError,
    SquidMesh,
    UnknownWorkflow,
    Workflow,
    WorkflowDefinitionError,
    complete,
    manual,
    step,
)
from flask_squidmesh.dispatch.trouble import described
from flask_squidmesh.testing import run_until_idle, tick
from tests.cli.conftest import FLASK, Shell
from tests.cli.workflows import Hold
from tests.contract.host import db, make_world


class Hello(Workflow):
    go = manual()
    work = step(lambda: None)
    transitions = [work >> complete]  # the specification writes it like this


def make_app(**config):
    app = Flask("shop")
    app.config.update({"SQLALCHEMY_DATABASE_URI": "sqlite://", **config})
    return app


def refused(call, kind=ConfigError):
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_extension_without_init_app():
    squidmesh = SquidMesh()
    with make_app().app_context():
        assert refused(lambda: squidmesh.start_run(Hello)) == (
            "flask_squidmesh is not initialised for the application 'shop'; "
            "call squidmesh.init_app(app) in its factory"
        )


def test_init_app_called_twice():
    app = make_app()
    squidmesh = SquidMesh(app)
    assert refused(lambda: squidmesh.init_app(app)) == (
        "flask_squidmesh is initialised for the application 'shop' already; "
        "call init_app once per application, or pass the app to SquidMesh(), not both"
    )


def test_call_outside_of_an_application_context():
    squidmesh = SquidMesh(make_app())
    assert refused(lambda: squidmesh.start_run(Hello), RuntimeError) == (
        "flask_squidmesh was called outside of an application context; call it in a view, a "
        "command or a step, or use: with app.app_context(): ..."
    )


def test_no_db_and_no_celery():
    squidmesh = SquidMesh(workflows=[Hello])
    app = make_app()
    squidmesh.init_app(app)
    with app.app_context():
        said = refused(lambda: squidmesh.start_run(Hello))
    assert "- missing db: create db = SQLAlchemy() and call db.init_app(app), or pass " in said
    assert '- missing celery: set app.extensions["celery"] to a Celery app' in said
    assert '"Background Tasks with Celery"' in said
    assert 'SQUIDMESH_DISPATCH="manual"' in said


def test_db_that_was_created_but_not_initialised():
    app = make_app(SQUIDMESH_DISPATCH="manual")
    squidmesh = SquidMesh(app, db=SQLAlchemy())
    with app.app_context():
        assert refused(squidmesh.config).endswith(
            "- missing db: the db given to squidmesh was not initialised: call db.init_app(app)"
        )


def test_order_of_init_app_is_no_mistake():
    app, own, squidmesh = make_app(SQUIDMESH_DISPATCH="manual"), SQLAlchemy(), SquidMesh()
    squidmesh.register(Hello)
    squidmesh.init_app(app)
    own.init_app(app)
    with app.app_context():
        own.create_all()
        squidmesh.start_run(Hello)
        assert run_until_idle() == 1
        own.engine.dispose()


def test_setting_with_a_slip_in_its_name():
    said = refused(lambda: SquidMesh(make_app(SQUIDMESH_WORKFLOW=["shop.workflows"])))
    assert "did you mean SQUIDMESH_WORKFLOWS?" in said


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("shop.workflows", "give a list of import paths, even for a single one"),
        (["shop.workflos"], "no such module; check the spelling"),
        (["json"], "the module defines no workflow; list the one that does"),
        ([Hello], "give import paths as text"),
    ],
)
def test_workflows_that_can_not_be_loaded(value, words):
    assert words in refused(lambda: SquidMesh(make_app(SQUIDMESH_WORKFLOWS=value)))


def test_workflow_that_is_wrong():
    def declare():
        class Wrong(Workflow):
            work = step(lambda: None)

    said = refused(declare, WorkflowDefinitionError)
    assert said.startswith("workflow validation failed:")
    assert "trigger" in said


def test_workflow_that_is_not_registered(world):
    said = refused(lambda: world.squidmesh.start_run(Hello), UnknownWorkflow)
    assert said == (
        "no workflow named 'hello' is registered (registered: digest, fan, flaky, hold, nap, "
        "purchase, refused); list its module in SQUIDMESH_WORKFLOWS or call squidmesh.register() "
        "with its class"
    )


# Migrations.


@pytest.fixture
def bare(database_url):
    """An application whose database has no tables."""
    with make_world(database_url, SQUIDMESH_WORKFLOWS=["tests.cli.workflows"]) as world:
        yield world


def assert_says_what_to_do(said):
    first, reason = said.splitlines()
    assert first == "the database is not ready for flask_squidmesh:"
    assert reason.startswith("- missing tables: its tables are missing (")
    assert "squidmesh_" in reason
    assert "; run 'flask squidmesh install' and 'flask db upgrade'" in reason


@pytest.mark.parametrize(
    "call",
    [
        lambda squidmesh: squidmesh.start_run("hold"),
        lambda squidmesh: squidmesh.start_run("hold", session=db.session),
        lambda squidmesh: squidmesh.list_runs(),
        lambda squidmesh: squidmesh.explain_run("0198c2f1-0000-7000-8000-000000000000"),
        lambda squidmesh: squidmesh.cancel_run("0198c2f1-0000-7000-8000-000000000000"),
        lambda _: tick(),
    ],
    ids=["start", "start in session", "list", "explain", "cancel", "tick"],
)
def test_no_migrations(bare, call):
    with pytest.raises(ConfigError) as error:
        call(bare.squidmesh)
    assert error.value.missing == ["tables"]
    assert_says_what_to_do(str(error.value))
    assert "SELECT" not in str(error.value)


def test_no_migrations_on_the_command_line(bare):
    said = Shell(bare.app).refuses("runs")
    assert_says_what_to_do(said.removeprefix("Error: ").rstrip())


def test_worker_that_starts_before_the_migrations_says_so(bare):
    with pytest.raises(ConfigError) as error:
        tick()
    # What the log of a worker gets to see.
    assert_says_what_to_do(described(error.value))


def test_missing_tables_of_the_host_are_its_own_business(bare):
    from sqlalchemy import text

    from flask_squidmesh.store import failure, transaction

    with pytest.raises(failure.Failure, match="elsewhere"):
        transaction.read(db.engine, lambda c: c.execute(text("SELECT 1 FROM elsewhere")))


# Broker and database.


def test_broker_that_is_down_refuses_nothing_and_is_named_in_the_log(database_url, caplog):
    with make_world(database_url, SQUIDMESH_DISPATCH="celery") as world:
        db.create_all()
        dead = Celery("shop", broker="redis://:secret@127.0.0.1:1/0", set_as_current=False)
        world.app.extensions["celery"] = dead
        with caplog.at_level(logging.WARNING):
            run_id = world.start(Hold)
        assert world.see(run_id).status == "pending"
    (record,) = (r for r in caplog.records if "no message could be sent" in r.message)
    assert "check broker_url and whether the broker runs" in record.message
    assert "work waits in the database" in record.message
    assert "secret" not in record.message


def test_database_that_can_not_be_reached_on_the_command_line(process):
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/nothing"
    shown = process(*FLASK, "runs", env={"DATABASE_URL": url})
    assert shown.wait_for_end() == 1
    assert "the database refused, or can not be reached: " in shown.log
    assert "SQLALCHEMY_DATABASE_URI" in shown.log
    assert "flask squidmesh check" in shown.log
    assert "Traceback" not in shown.log
    assert "secret" not in shown.log


def test_invalid_setting_ends_every_command_with_what_to_do(process):
    shown = process(
        *FLASK, "check", env={"DATABASE_URL": "sqlite://", "MORE_CONFIG": '{"SQUIDMESH_QUEU": "x"}'}
    )
    assert shown.wait_for_end() != 0
    assert shown.log.rstrip().endswith(
        "- SQUIDMESH_QUEU = 'x': no such setting; did you mean SQUIDMESH_QUEUE?"
    )


# HTTP.


def test_authoriser_that_is_missing_is_named_in_the_log_only(url, open_world, caplog):
    world = open_world(url, SQUIDMESH_BLUEPRINT=True)
    with caplog.at_level(logging.WARNING):
        answer = world.app.test_client().get("/squidmesh/runs")
    assert answer.status_code == 403
    assert "authorize" not in answer.text
    assert "register a function with @squidmesh.authorize" in caplog.text

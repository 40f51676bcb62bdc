"""What a user meets on the first day: every message names the mistake and the remedy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from operator import methodcaller
from typing import Any

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


@pytest.mark.parametrize("how", ["the same object", "another object"])
def test_init_app_called_twice(how):
    app = make_app()
    first = SquidMesh(app)
    second = first if how == "the same object" else SquidMesh()
    assert refused(lambda: second.init_app(app)) == (
        "flask_squidmesh is initialised for the application 'shop' already; "
        "call init_app once per application, or pass the app to SquidMesh(), not both"
    )


RUN_ID = "0198c2f1-0000-7000-8000-000000000000"
ON_A_RUN = ("inspect", "explain", "unblock", "approve", "reject", "cancel", "replay")
CALLS: dict[str, Callable[[SquidMesh], object]] = {
    **{f"{verb}_run": methodcaller(f"{verb}_run", RUN_ID) for verb in ON_A_RUN},
    "inspect_run_graph": lambda squidmesh: squidmesh.inspect_run_graph(RUN_ID),
    "start_run": lambda squidmesh: squidmesh.start_run("hold"),
    "list_runs": lambda squidmesh: squidmesh.list_runs(),
    "config": lambda squidmesh: squidmesh.config(),
    "run_until_idle": lambda _: run_until_idle(),
    "tick": lambda _: tick(),
}


def test_every_call_is_looked_at_here():
    public = {name for name in vars(SquidMesh) if not name.startswith("_")}
    assert public - set(CALLS) == {"init_app", "register", "authorize"}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_call_outside_of_an_application_context(call):
    squidmesh = SquidMesh(make_app())
    assert refused(lambda: call(squidmesh), RuntimeError) == (
        "flask_squidmesh was called outside of an application context; call it in a view, a "
        "command or a step, or use: with app.app_context(): ..."
    )


NO_DB = (
    "- missing db: create db = SQLAlchemy() and call db.init_app(app), or pass "
    "squidmesh.init_app(app, db=db)"
)
NO_CELERY = (
    '- missing celery: set app.extensions["celery"] to a Celery app (see "Background Tasks with '
    "Celery\" in Flask's documentation), pass squidmesh.init_app(app, celery=...), or set "
    'SQUIDMESH_DISPATCH="manual" where nothing is to be sent'
)


def test_no_db_and_no_celery():
    squidmesh = SquidMesh(workflows=[Hello])
    app = make_app()
    squidmesh.init_app(app)
    with app.app_context():
        for call in (lambda: squidmesh.start_run(Hello), squidmesh.config):
            assert refused(call).splitlines()[1:] == [NO_DB, NO_CELERY]
        # To read or decide, nothing has to be sent.
        assert refused(squidmesh.list_runs).splitlines()[1:] == [NO_DB]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("start hello", [NO_DB, NO_CELERY]),
        ("runs", [NO_DB]),
        (f"approve {RUN_ID} --actor jane", [NO_DB]),
        ("tick", [NO_DB]),
        ("tick --forever", [NO_DB]),
        ("worker", [NO_DB]),
        ("dev", [NO_DB]),
    ],
)
def test_no_db_and_no_celery_on_the_command_line(command, words):
    app = make_app()
    SquidMesh(app, workflows=[Hello])
    said = Shell(app).refuses(*command.split())
    assert said.splitlines() == ["Error: flask_squidmesh is not configured correctly:", *words]


def test_no_celery_for_a_worker(open_world):
    shell = Shell(open_world("sqlite://", SQUIDMESH_DISPATCH="celery").app)
    assert shell.refuses("worker").splitlines()[1:] == [NO_CELERY]


def test_db_that_has_no_default_database():
    app = Flask("shop")
    app.config.update(SQLALCHEMY_BINDS={"archive": "sqlite://"}, SQUIDMESH_DISPATCH="manual")
    own = SQLAlchemy(app)
    squidmesh = SquidMesh(app, workflows=[Hello])
    with app.app_context():
        assert refused(lambda: squidmesh.start_run(Hello)).endswith(
            "- missing db: the tables live in the default database, and this application has only "
            "others; set SQLALCHEMY_DATABASE_URI"
        )
        own.engines["archive"].dispose()


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


def test_steps_that_are_not_there():
    def after():
        class Wrong(Workflow):
            go = manual()
            load = step(lambda: None)
            pay = step(lambda: None, after=["lod"])

    def transition():
        class Wrong(Workflow):
            go = manual()
            load = step(lambda: None)
            transitions = [load >> step(lambda: None) >> complete]  # the specification writes so

    assert (
        "- Wrong.pay.after: step 'pay' waits for what is no step of this class: 'lod'; "
        "use one of: 'load', 'pay' "
    ) in refused(after, WorkflowDefinitionError)
    said = refused(transition, WorkflowDefinitionError)
    assert "leads to what is no step of this class" in said
    assert "lead it to complete or one of: 'load' " in said


def test_what_is_no_workflow_is_not_registered():
    what: Any = Flask
    assert refused(lambda: SquidMesh(workflows=[what]), TypeError) == (
        "<class 'flask.app.Flask'> is not a workflow; "
        "register a subclass of flask_squidmesh.Workflow"
    )


def test_workflow_that_is_not_registered(world):
    said = refused(lambda: world.squidmesh.start_run(Hello), UnknownWorkflow)
    assert said == (
        "no workflow named 'hello' is registered (registered: digest, fan, flaky, hold, nap, "
        "purchase, refused); list its module in SQUIDMESH_WORKFLOWS or call squidmesh.register() "
        "with its class"
    )


# Migrations.


@pytest.fixture(scope="module")
def empty_url(databases):
    """A database without tables; all tests of the module share it, since none can write to it."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def bare(empty_url, open_world):
    """An application whose database has no tables."""
    return open_world(empty_url)


def assert_says_what_to_do(said):
    first, reason = said.splitlines()
    assert first == "the database is not ready for flask_squidmesh:"
    assert reason.startswith("- missing tables: its tables are missing (")
    assert "squidmesh_" in reason
    assert "; run 'flask squidmesh install' and 'flask db upgrade'" in reason


# Who decides is asked first.
NEED_NO_TABLES = {"config", "approve_run", "reject_run"}
NEED_TABLES = {name: call for name, call in CALLS.items() if name not in NEED_NO_TABLES}


@pytest.mark.parametrize(
    "call",
    [*NEED_TABLES.values(), lambda squidmesh: squidmesh.start_run("hold", session=db.session)],
    ids=[*NEED_TABLES, "start_run in a session"],
)
def test_no_migrations(bare, call):
    with pytest.raises(ConfigError) as error:
        call(bare.squidmesh)
    assert error.value.missing == ["tables"]
    assert_says_what_to_do(str(error.value))
    assert "SELECT" not in str(error.value)


@pytest.mark.parametrize(
    "command", ["runs", "start hold", "inspect 0198", "watch 0198", "tick", "graph 0198"]
)
def test_no_migrations_on_the_command_line(bare, command):
    said = Shell(bare.app).refuses(*command.split())
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


def test_broker_that_is_down_refuses_no_start_on_the_command_line(url, open_world):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    dead = Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False)
    world.app.extensions["celery"] = dead
    assert "of hold is pending.\nFollow it: " in Shell(world.app).does("start", "hold")


def test_database_that_can_not_be_reached_on_the_command_line(open_world):
    world = open_world("postgresql+psycopg://me:secret@127.0.0.1:1/nothing")
    said = Shell(world.app).refuses("runs")
    assert said.startswith("Error: the database refused, or can not be reached: ")
    assert "SQLALCHEMY_DATABASE_URI" in said
    assert "flask squidmesh check" in said
    assert "secret" not in said


def test_install_without_flask_migrate():
    app = make_app()
    SquidMesh(app)
    assert Shell(app).refuses("install") == (
        "Error: the tables can not be installed:\n"
        "- missing migrate: Flask-Migrate is not initialised for this application; create "
        "migrate = Migrate() and call migrate.init_app(app, db) in its factory\n"
    )


def test_invalid_setting_ends_a_command_with_what_to_do(process):
    shown = process(
        *FLASK, "check", env={"DATABASE_URL": "sqlite://", "MORE_CONFIG": '{"SQUIDMESH_QUEU": "x"}'}
    )
    assert shown.wait_for_end() == 1
    assert shown.log.splitlines() == [
        "Error: flask_squidmesh is not configured correctly:",
        "- SQUIDMESH_QUEU = 'x': no such setting; did you mean SQUIDMESH_QUEUE?",
    ]


# HTTP.


def test_authoriser_that_is_missing_is_named_in_the_log_only(url, open_world, caplog):
    world = open_world(url, SQUIDMESH_BLUEPRINT=True)
    with caplog.at_level(logging.WARNING):
        answer = world.app.test_client().get("/squidmesh/runs")
    assert answer.status_code == 403
    assert "authorize" not in answer.text
    assert "register a function with @squidmesh.authorize" in caplog.text


def test_missing_tables_are_named_in_the_log_of_the_server_only(open_world, caplog):
    world = open_world("sqlite://", SQUIDMESH_BLUEPRINT=True)
    world.squidmesh.authorize(lambda *_: "jane")
    answer = world.app.test_client().get("/squidmesh/runs")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "tables" not in answer.text
    assert_says_what_to_do(str(caplog.records[-1].exc_info[1]))


def test_missing_db_is_named_in_the_log_of_the_server_only(caplog):
    app = make_app(SQUIDMESH_BLUEPRINT=True)
    SquidMesh(app).authorize(lambda *_: "jane")
    answer = app.test_client().get("/squidmesh/runs")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "SQLAlchemy" not in answer.text
    assert NO_DB in str(caplog.records[-1].exc_info[1])


def test_workflow_that_is_not_registered_over_http(url, open_world):
    world = open_world(url, SQUIDMESH_BLUEPRINT=True)
    world.squidmesh.authorize(lambda *_: "jane")
    answer = world.app.test_client().post("/squidmesh/workflows/hello/runs", json={"payload": {}})
    assert (answer.status_code, answer.json["code"]) == (404, "unknown_workflow")
    assert answer.json["detail"] == "There is no workflow 'hello'."

"""The extension: one object, several applications, any order of `init_app`."""

from __future__ import annotations

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
from flask_squidmesh.testing import run_until_idle
from tests.contract.host import db, make_app, make_world, prepare, single

HERE = "tests.contract.workflows"


@pytest.fixture
def make():
    """Return a function that makes an application without any extension."""

    def make(**config):
        app = Flask("bare")
        app.config.update({"SQLALCHEMY_DATABASE_URI": "sqlite://", **config})
        return app

    return make


class Greeting(Workflow):
    go = manual()
    greet = step(lambda: {"greeting": "hello"})
    transitions = [greet >> complete]


# What other extensions provide.


@pytest.mark.parametrize("order", ["db first", "db last"])
def test_order_of_init_app_does_not_matter(databases, order):
    url = databases.create(prepare)
    app = Flask("ordered")
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQUIDMESH_DISPATCH="manual")
    own, squidmesh = SQLAlchemy(), SquidMesh(workflows=[Greeting])
    for init_app in (own.init_app, squidmesh.init_app)[:: 1 if order == "db first" else -1]:
        init_app(app)
    with app.app_context():
        run = squidmesh.start_run(Greeting)
        assert run_until_idle() == 1
        assert squidmesh.inspect_run(run.id).context == {"greeting": "hello"}
        own.engine.dispose()
    databases.drop(url)


def test_tables_join_the_metadata_of_the_host_even_if_db_comes_later(make):
    app, own = make(SQUIDMESH_DISPATCH="manual"), SQLAlchemy()
    SquidMesh(app)
    own.init_app(app)
    with app.app_context():
        assert "squidmesh_runs" in own.metadata.tables
        own.engine.dispose()


def test_celery_app_is_found_under_the_name_of_flasks_documentation(make):
    app = make()
    db.init_app(app)
    squidmesh = SquidMesh(app)
    with app.app_context():
        with pytest.raises(ConfigError) as refused:
            squidmesh.config()
        assert refused.value.missing == ["celery"]
        app.extensions["celery"] = Celery(set_as_current=False, broker="memory://")
        assert squidmesh.config().dispatch == "celery"


@pytest.mark.parametrize("where", ["constructor", "init_app"])
def test_db_and_celery_may_be_given(make, where):
    app, own = make(), SQLAlchemy()
    own.init_app(app)
    parts = {"db": own, "celery": Celery(set_as_current=False, broker="memory://")}
    squidmesh = SquidMesh(**parts) if where == "constructor" else SquidMesh()
    squidmesh.init_app(app, **(parts if where == "init_app" else {}))
    with app.app_context():
        assert squidmesh.config().queue == "squidmesh"


def test_everything_that_is_missing_is_named_at_once(make):
    app = make()
    squidmesh = SquidMesh(app)
    with app.app_context(), pytest.raises(ConfigError) as refused:
        squidmesh.config()
    assert (refused.value.missing, refused.value.invalid) == (["db", "celery"], {})


def test_configuration_is_checked_before_the_workflow(make):
    squidmesh = SquidMesh()
    app = make()
    squidmesh.init_app(app)
    with app.app_context(), pytest.raises(ConfigError) as refused:
        squidmesh.start_run("nobody")
    assert refused.value.missing == ["db", "celery"]


def test_manual_dispatch_needs_no_celery(make):
    app = make(SQUIDMESH_DISPATCH="manual")
    squidmesh = SquidMesh(app)
    with app.app_context(), pytest.raises(ConfigError) as refused:
        squidmesh.config()
    assert refused.value.missing == ["db"]


def test_db_that_was_never_initialised_is_missing(make):
    app = make(SQUIDMESH_DISPATCH="manual")
    squidmesh = SquidMesh(app, db=SQLAlchemy())
    with app.app_context(), pytest.raises(ConfigError) as refused:
        squidmesh.config()
    assert refused.value.missing == ["db"]


# Settings.


def test_settings_are_validated_in_init_app_all_at_once(make):
    app = make(SQUIDMESH_LEASE_TTL=-1, SQUIDMESH_TICKER="yes", SQUIDMESH_QUEU="x")
    with pytest.raises(ConfigError) as refused:
        SquidMesh(app)
    assert refused.value.invalid == {
        "SQUIDMESH_LEASE_TTL": -1,
        "SQUIDMESH_TICKER": "yes",
        "SQUIDMESH_QUEU": "x",
    }
    assert "SQUIDMESH_QUEUE" in str(refused.value)
    assert "squidmesh" not in app.extensions


def test_config_returns_frozen_settings_by_short_names(open_world):
    settings = open_world(SQUIDMESH_LEASE_TTL=7, SQUIDMESH_QUEUE="slow").squidmesh.config()
    assert (settings.lease_ttl, settings.queue, settings.dispatch) == (7, "slow", "manual")
    with pytest.raises(AttributeError):
        settings.queue = "other"


# Applications.


def test_state_of_an_application_is_among_its_extensions(make):
    app = make()
    SquidMesh(app)
    assert "squidmesh" in app.extensions


def test_second_init_app_on_one_application_is_refused_with_an_instruction(make):
    app = make()
    squidmesh = SquidMesh(app)
    for again in (squidmesh, SquidMesh()):
        with pytest.raises(ConfigError, match="once"):
            again.init_app(app)


def test_outside_of_a_context_the_error_says_so():
    squidmesh = SquidMesh()
    for call in (squidmesh.config, squidmesh.list_runs, lambda: squidmesh.start_run("x")):
        with pytest.raises(RuntimeError, match="app_context"):
            call()


def test_application_without_the_extension_is_told_so(make):
    with make().app_context(), pytest.raises(ConfigError, match="init_app"):
        SquidMesh().config()


def test_one_object_serves_several_applications(databases):
    squidmesh = SquidMesh(workflows=[Greeting])
    urls = [databases.create(prepare) for _ in range(2)]
    apps = [make_app(url) for url in urls]
    for app in apps:
        squidmesh.init_app(app, db=db)
    started = []
    for app in apps:
        with app.app_context():
            started.append(squidmesh.start_run(Greeting).id)
    for app, run_id in zip(apps, started, strict=True):
        with app.app_context():
            assert [run.id for run in squidmesh.list_runs()] == [run_id]
            run_until_idle()
            assert squidmesh.inspect_run(run_id).status == "completed"
            db.engine.dispose()
    for url in urls:
        databases.drop(url)


def test_several_objects_may_serve_several_applications(make):
    first, second = make(SQUIDMESH_QUEUE="one"), make(SQUIDMESH_QUEUE="two")
    SquidMesh(first)
    SquidMesh(second)
    assert first.extensions["squidmesh"] is not second.extensions["squidmesh"]


# Workflows.


def test_register_is_a_decorator_and_comes_before_or_after_init_app(world):
    @world.squidmesh.register
    class Late(Workflow):
        go = manual()
        work = step(lambda: None)
        transitions = [work >> complete]

    assert isinstance(Late, type)
    assert world.squidmesh.start_run("late").workflow == "late"


def test_registered_name_is_the_class_name_in_snake_case_or_the_attribute(world):
    class HTTPRetryOfInvoice2(Workflow):
        go = manual()
        work = step(lambda: None)
        transitions = [work >> complete]

    class Named(Workflow):
        name = "of_my_own"
        go = manual()
        work = step(lambda: None)
        transitions = [work >> complete]

    world.start(HTTPRetryOfInvoice2)
    world.start(Named)
    assert HTTPRetryOfInvoice2.name == HTTPRetryOfInvoice2.name.lower()
    assert world.squidmesh.start_run("of_my_own").workflow == "of_my_own"


def test_two_classes_with_one_name_are_refused(world):
    world.squidmesh.register(single(lambda: None))
    with pytest.raises(WorkflowDefinitionError, match="both called 'single'"):
        world.squidmesh.register(single(lambda: None))


def test_registering_a_class_again_changes_nothing(world):
    flow = single(lambda: None)
    assert world.squidmesh.register(flow) is world.squidmesh.register(flow) is flow


@pytest.mark.parametrize(
    ("paths", "known"),
    [
        ([HERE], {"first_listed", "second_listed"}),
        ([f"{HERE}.FirstListed"], {"first_listed"}),
        ([f"{HERE}:SecondListed"], {"second_listed"}),
        ([HERE, f"{HERE}.FirstListed"], {"first_listed", "second_listed"}),
    ],
)
def test_workflows_are_found_by_import_path(open_world, paths, known):
    squidmesh = open_world(SQUIDMESH_WORKFLOWS=paths).squidmesh
    with pytest.raises(UnknownWorkflow) as refused:
        squidmesh.start_run("nobody")
    assert set(refused.value.known) == known
    assert {squidmesh.start_run(name).workflow for name in known} == known


@pytest.mark.parametrize("path", ["no.such.module", f"{HERE}.Nobody", "tests.contract", "json"])
def test_import_path_without_a_workflow_is_refused_in_init_app(make, path):
    app = make(SQUIDMESH_WORKFLOWS=[path])
    with pytest.raises(ConfigError) as refused:
        SquidMesh(app)
    assert set(refused.value.invalid) == {"SQUIDMESH_WORKFLOWS"}
    assert path in str(refused.value)


def test_workflows_of_one_application_are_unknown_to_another(url):
    listing, other = make_world(url, SQUIDMESH_WORKFLOWS=[HERE]), make_world(url)
    with listing, other as without, pytest.raises(UnknownWorkflow):
        without.squidmesh.start_run("first_listed")

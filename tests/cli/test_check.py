"""The doctor: every mistake it knows is found, and told apart from what is well."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from celery import Celery
from flask_migrate import Migrate
from sqlalchemy.engine import make_url

from flask_squidmesh import Workflow, complete, manual, sqlite, step
from flask_squidmesh.clock import wait_until
from flask_squidmesh.config import known_keys
from flask_squidmesh.testing import freeze
from tests.cli.conftest import FLASK, Shell
from tests.cli.workflows import Purchase
from tests.contract.host import db, single

DEAD_BROKER = "redis://:secret@127.0.0.1:1/0"
ON_SQLITE = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
"""For what is about broker and workers: to ask them takes a second each time."""


def examine(shell):
    """Return exit code and findings; the test process has imported many other workflows."""
    said = shell("check", "--json")
    document = json.loads(said.out)
    assert document["ok"] is (said.code == 0)
    findings = [f for f in document["findings"] if "but is not registered" not in f["message"]]
    return said.code, findings


def find(findings, check, status):
    """Return message and remedy of the findings of this kind as one text."""
    found = [f for f in findings if (f["check"], f["status"]) == (check, status)]
    assert found, findings
    return " / ".join(f"{f['message']} -> {f['remedy']}" for f in found)


def with_celery(world, broker_url, **configuration):
    celery = Celery("tests.cli", broker=broker_url, set_as_current=False)
    celery.conf.update(configuration)
    world.app.extensions["celery"] = celery
    return Shell(world.app)


def long_ago(minutes=5):
    return datetime.now(UTC) - timedelta(minutes=minutes)  # noqa: TID251  # the database's clock is real


def age(minutes=5):
    """Let all that is ready have been so for a while."""
    with db.engine.begin() as connection:
        at = long_ago(minutes)
        if connection.dialect.name == "sqlite":
            at = at.replace(tzinfo=None)
        statement = "UPDATE squidmesh_branches SET ready_at = :at"
        connection.execute(sa.text(statement), {"at": at})


def test_nothing_wrong_is_said_to_be_well(world, shell):
    code, findings = examine(shell)
    assert code == 0
    assert {f["status"] for f in findings} == {"ok", "skipped"}
    assert {f["check"] for f in findings} >= {"configuration", "database", "migrations", "work"}
    lines = shell.does("check").splitlines()
    assert "         SQUIDMESH_DISPATCH = 'manual'" in lines
    for line in lines:
        assert line.split()[0] in {"ok", "skipped", "warning", "->", *known_keys()}


def test_settings_are_shown_to_programs(world, shell):
    document = shell.document("check")
    assert document["settings"] == {
        **asdict(world.squidmesh.config()),
        "workflows": ["tests.cli.workflows"],
    }


def test_everything_that_needs_doing_says_what(url, open_world):
    world = open_world("sqlite://", SQUIDMESH_DISPATCH="celery", SQUIDMESH_WORKFLOWS=[])
    _, findings = examine(Shell(world.app))
    assert len(findings) > 5
    for finding in findings:
        assert bool(finding["remedy"]) == (finding["status"] in {"warning", "problem"})


def test_missing_celery_is_told_as_config_tells_it(url, open_world):
    from flask_squidmesh import ConfigError

    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    with pytest.raises(ConfigError) as refused:
        world.squidmesh.config()
    code, findings = examine(Shell(world.app))
    assert code == 1
    assert find(findings, "configuration", "problem").startswith(str(refused.value))
    find(findings, "broker", "skipped")


def test_workflows_that_nobody_registered(url, open_world):
    shell = Shell(open_world(url, SQUIDMESH_WORKFLOWS=[]).app)
    code, findings = examine(shell)
    assert code == 0
    assert "SQUIDMESH_WORKFLOWS" in find(findings, "workflows", "warning")


def test_workflow_that_was_imported_but_not_registered(world, shell):
    class Forgotten(Workflow):
        go = manual()
        work = step(lambda: None)
        transitions = [work >> complete]  # the specification writes it like this

    said = shell.does("check")
    assert f"{Forgotten.__qualname__} was imported, but is not registered" in said
    world.squidmesh.register(Forgotten)
    assert Forgotten.__qualname__ not in shell.does("check")


def test_routes_that_refuse_everybody(url, open_world):
    world = open_world(url, SQUIDMESH_BLUEPRINT=True)
    shell = Shell(world.app)
    code, findings = examine(shell)
    assert code == 0
    assert "@squidmesh.authorize" in find(findings, "http", "warning")
    world.squidmesh.authorize(lambda *_: "anybody")
    find(examine(shell)[1], "http", "ok")


# Database and tables.


def test_unreachable_database(open_world):
    url = "postgresql+psycopg://postgres:secret@127.0.0.1:1/nothing"
    code, findings = examine(Shell(open_world(url).app))
    assert code == 1
    said = find(findings, "database", "problem")
    assert "SQLALCHEMY_DATABASE_URI" in said
    assert "secret" not in said


def test_missing_tables(database_url, open_world):
    code, findings = examine(Shell(open_world(database_url).app))
    assert code == 1
    said = find(findings, "migrations", "problem")
    assert "squidmesh_runs" in said
    assert "'flask squidmesh install' and 'flask db upgrade'" in said


def test_tables_of_another_release(databases, open_world):
    from tests.contract import host

    url = databases.create(host.prepare)
    world = open_world(url)
    with db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE squidmesh_branches DROP COLUMN worker"))
    code, findings = examine(Shell(world.app))
    assert code == 1
    assert "squidmesh_branches.worker" in find(findings, "migrations", "problem")
    db.engine.dispose()
    databases.drop(url)


def test_revisions_that_the_hosts_migrations_lack(world, shell, tmp_path):
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").touch()
    (folder / "script.py.mako").touch()
    (folder / "alembic.ini").write_text("[alembic]\n")
    Migrate(world.app, db, directory=str(folder))
    code, findings = examine(shell)
    assert code == 0
    said = find(findings, "migrations", "warning")
    assert "sqm0001" in said
    assert "flask squidmesh install" in said


def test_password_of_the_database_is_not_shown(world, shell):
    password = make_url(world.app.config["SQLALCHEMY_DATABASE_URI"]).password
    if password:
        assert password not in shell.does("check").replace("postgres:***", "")


def test_clock_that_differs_from_the_databases(world, shell):
    has_clock = db.engine.dialect.name != "sqlite"
    with freeze() as clock:
        clock.advance(seconds=90)
        code, findings = examine(shell)
    assert code == (1 if has_clock else 0)
    if has_clock:
        assert "s ahead of the database's" in find(findings, "clock", "problem")


def test_sqlite_in_memory_can_not_be_shared(open_world):
    world = open_world("sqlite://", SQUIDMESH_DISPATCH="celery")
    code, findings = examine(Shell(world.app))
    assert code == 1
    assert "no worker sees it" in find(findings, "sqlite", "problem")


def test_sqlite_without_write_ahead_log(tmp_path, open_world):
    file = tmp_path / "plain.sqlite3"
    with closing(sqlite3.connect(file)) as made:
        made.execute("PRAGMA journal_mode=DELETE")
    world = open_world(f"sqlite:///{file}")
    db.create_all()
    code, findings = examine(Shell(world.app))
    assert code == 0
    assert "flask_squidmesh.sqlite.configure" in find(findings, "sqlite", "warning")
    db.engine.dispose()
    sqlite.configure(db.engine)
    _, findings = examine(Shell(world.app))
    assert [f for f in findings if f["check"] == "sqlite"] == []


# Work.


def test_unfinished_runs_of_a_workflow_that_is_gone(url, open_world):
    world = open_world(url)
    world.squidmesh.start_run(Purchase, {"item": "tea"})
    without = open_world(url, SQUIDMESH_WORKFLOWS=[])
    code, findings = examine(Shell(without.app))
    assert code == 1
    said = find(findings, "work", "problem")
    assert "1 unfinished runs belong to workflow purchase" in said
    assert "flask squidmesh runs --workflow purchase" in said


def test_steps_whose_function_is_gone(url, open_world):
    class Changing(Workflow):
        name = "changing"
        go = manual()
        old = step(lambda: None)
        transitions = [old >> complete]  # the specification writes it like this

    class Changed(Workflow):
        name = "changing"
        go = manual()
        new = step(lambda: None)
        transitions = [new >> complete]  # the specification writes it like this

    open_world(url).start(Changing)
    age()
    today = open_world(url)
    today.squidmesh.register(Changed)
    code, findings = examine(Shell(today.app))
    assert code == 1
    assert "1 runs of changing at step old (for 5 min)" in find(findings, "work", "problem")


@ON_SQLITE
def test_ready_steps_that_nobody_takes_while_nobody_listens(url, open_world, broker_url):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    shell = with_celery(world, broker_url)
    world.squidmesh.start_run(Purchase, {"item": "tea"})
    age()
    code, findings = examine(shell)
    assert code == 1
    said = find(findings, "work", "problem")
    assert "1 runs of purchase at step price_it (for 5 min) wait for a worker" in said
    assert "nobody listens on queue squidmesh" in said
    assert "flask squidmesh worker" in said


def test_ready_steps_are_only_a_warning_when_workers_can_not_be_asked(url, open_world, broker_url):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    shell = with_celery(world, broker_url, worker_enable_remote_control=False)
    world.squidmesh.start_run(Purchase, {"item": "tea"})
    find(examine(shell)[1], "work", "ok")  # it has only just become ready
    age()
    code, findings = examine(shell)
    assert code == 0
    find(findings, "workers", "skipped")
    assert "longer than usual" in find(findings, "work", "warning")


@pytest.mark.parametrize(("ticker", "remedy"), [(True, "worker"), (False, "tick --forever")])
def test_nobody_ticks(url, open_world, ticker, remedy):
    world = open_world(url, SQUIDMESH_TICKER=ticker)
    world.start(single(lambda: None))
    with db.engine.begin() as connection:
        at = long_ago()
        if connection.dialect.name == "sqlite":
            at = at.replace(tzinfo=None)
        connection.execute(sa.text("UPDATE squidmesh_branches SET due_at = :at"), {"at": at})
    code, findings = examine(Shell(world.app))
    assert code == 1
    assert f"flask squidmesh {remedy}" in find(findings, "ticker", "problem")


# Broker and Celery.


def test_unreachable_broker(url, open_world):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    code, findings = examine(with_celery(world, DEAD_BROKER))
    assert code == 1
    said = find(findings, "broker", "problem")
    assert "127.0.0.1:1" in said
    assert "secret" not in said


def test_broker_that_is_the_memory_of_this_process(url, open_world):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    code, findings = examine(with_celery(world, "memory://"))
    assert code == 0
    assert "flask squidmesh dev" in find(findings, "broker", "warning")


@ON_SQLITE
def test_broker_without_a_listener(url, open_world, broker_url):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    code, findings = examine(with_celery(world, broker_url))
    assert code == 0
    assert "0 messages wait in squidmesh" in find(findings, "broker", "ok")
    assert "nobody listens on queue squidmesh" in find(findings, "workers", "warning")


@ON_SQLITE
def test_worker_on_the_wrong_and_then_on_the_right_queue(url, open_world, broker_url, process):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    shell = with_celery(world, broker_url)
    env = {"DATABASE_URL": url, "BROKER_URL": broker_url}
    worker = (*FLASK, "worker", "--pool", "solo", "-n", "here@test")
    process(*worker, "-Q", "celery", env=env, ready=r" ready\.")
    # A worker that is ready may still be about to listen to questions.
    assert wait_until(lambda: examine(shell)[0] == 1, timeout=20)
    said = find(examine(shell)[1], "workers", "problem")
    assert "none listens on queue squidmesh, only on others: here@test" in said
    assert "-Q celery,squidmesh" in said
    world.app.extensions["celery"].control.add_consumer("squidmesh", reply=True)
    code, findings = examine(shell)
    assert code == 0
    assert "1 on queue squidmesh: here@test" in find(findings, "workers", "ok")


@ON_SQLITE
@pytest.mark.parametrize(
    ("setting", "value", "status"),
    [
        ("accept_content", ["pickle"], "problem"),
        ("task_time_limit", 30, "warning"),
        ("task_soft_time_limit", 30, "warning"),
        ("task_default_rate_limit", "1/m", "warning"),
        ("task_annotations", {"*": {"rate_limit": "1/m"}}, "warning"),
        ("worker_prefetch_multiplier", 0, "warning"),
        ("worker_prefetch_multiplier", 64, "warning"),
        ("accept_content", ["application/json", "pickle"], "ok"),
        ("worker_prefetch_multiplier", 1, "ok"),
        ("task_annotations", {"my.task": {"rate_limit": "1/m"}}, "ok"),
        ("task_always_eager", True, "ok"),
        ("task_create_missing_queues", False, "ok"),
    ],
)
def test_settings_of_celery(url, open_world, setting, value, status):
    world = open_world(url, SQUIDMESH_DISPATCH="celery")
    code, findings = examine(with_celery(world, "memory://", **{setting: value}))
    said = find(findings, "celery", status)
    assert (setting.split("_rate")[0] in said or "limit" in said) == (status != "ok")
    assert code == (1 if status == "problem" else 0)


@ON_SQLITE
def test_check_in_a_process_of_its_own(process, url):
    checked = process(*FLASK, "check", env={"DATABASE_URL": url})
    assert checked.wait_for_end() == 0
    assert "ok       database: " in checked.log


def test_file_of_the_database_that_can_not_be_opened(open_world):
    code, findings = examine(Shell(open_world("sqlite:////nowhere/at/all.sqlite3").app))
    assert code == 1
    assert "unable to open database file" in find(findings, "database", "problem")

"""Watching a run, from a process of its own, while it goes."""

from __future__ import annotations

import json
import signal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from flask_squidmesh.testing import run_until_idle
from tests.cli.conftest import ESCAPE, FLASK, on_terminal
from tests.cli.workflows import Fan, Flaky, Hold, Nap, Purchase, Refused
from tests.contract import host
from tests.contract.host import db
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def databases(sqlite_databases: Databases) -> Databases:
    """One kind is enough: a run is read as everywhere else, this is about reading it again."""
    return sqlite_databases


@pytest.fixture
def watch(process, url):
    def watch(run_id, *arguments, ready=None):
        return process(*FLASK, "watch", run_id, *arguments, env={"DATABASE_URL": url}, ready=ready)

    return watch


def test_run_is_followed_to_its_end(world, watch):
    run_id = world.start(Purchase, {"item": "tea"})
    watching = watch(run_id[:23], ready="price_it: pending")
    run_until_idle()
    watching.wait_for_log("run is paused")
    world.squidmesh.approve_run(run_id, actor="jane")
    run_until_idle()
    assert watching.wait_for_end() == 0
    lines = watching.log.splitlines()
    assert lines[0].startswith(f"run {run_id} of purchase, started ")
    assert [line for line in lines if "attempt" in line] == [
        "  price_it: attempt 1 completed",
        "  decide: attempt 1 completed",
        "  deliver: attempt 1 completed",
    ]
    assert any(line.startswith("  decide: approved by jane at ") for line in lines)
    assert [line for line in lines if line.startswith("run is ")] == [
        *("run is pending", "run is paused", "run is completed")
    ]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize(
    ("workflow", "code"), [(Refused, 1), (Flaky, 1), (Fan, 0), (Nap, 0)], ids=str
)
def test_exit_code_tells_how_the_run_ended(world, shell, workflow, code):
    run_id = world.start(workflow)
    run_until_idle(advance=True)
    said = shell("watch", run_id)
    assert said.code == code
    assert said.out.splitlines()[-1] == f"run is {world.see(run_id).status}"


def test_cancelled_run_exits_with_1(world, shell):
    run_id = world.start(Hold)
    world.squidmesh.cancel_run(run_id)
    assert shell("watch", run_id).code == 1


def test_failed_attempts_are_shown_with_their_errors(world, shell):
    run_id = world.start(Flaky)
    run_until_idle(advance=True)
    said = shell("watch", run_id).out
    for number in (1, 2):
        assert f"  call: attempt {number} failed: exception: no route" in said


def test_documents_are_printed_one_a_line(world, watch):
    run_id = world.start(Hold)
    watching = watch(run_id, "--json", ready="pending")
    run_until_idle()
    watching.wait_for_log("paused")
    world.squidmesh.unblock_run(run_id)
    run_until_idle()
    assert watching.wait_for_end() == 0
    documents = [json.loads(line) for line in watching.log.splitlines()]
    assert [d["status"] for d in documents] == ["pending", "paused", "completed"]
    assert documents[-1] == world.see(run_id).to_dict()


def test_ctrl_c_stops_watching_and_nothing_else(world, watch):
    run_id = world.start(Hold)
    watching = watch(run_id, ready="run is pending")
    watching.send(signal.SIGINT)
    assert watching.wait_for_end() == 1
    assert watching.log.endswith(f"\nNot watching any more; run {run_id} goes on.\n")
    assert "Traceback" not in watching.log
    assert world.see(run_id).status == "pending"


def test_database_that_goes_away_is_waited_for(postgres_databases, open_world, process):
    url = postgres_databases.create(host.prepare)
    world = open_world(url)
    run_id = world.start(Hold)
    env = {"DATABASE_URL": url}
    watching = process(*FLASK, "watch", run_id, env=env, ready="run is pending")
    db.engine.dispose()
    name = make_url(url).database
    server = sa.create_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as admin:
        admin.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        admin.execute(sa.text(end), {"name": name})
        watching.wait_for_log("The database is away, trying on: ")
        admin.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    server.dispose()
    world.squidmesh.cancel_run(run_id)
    assert watching.wait_for_end() == 1
    assert watching.log.endswith("run is cancelled\n")
    assert watching.log.count("The database is away") == 1
    db.engine.dispose()
    postgres_databases.drop(url)


def test_terminal_shows_where_the_run_stands(world):
    run_id = world.start(Refused)
    run_until_idle()
    text = ESCAPE.sub("", on_terminal(world.app, "watch", run_id))
    assert text.startswith(f"Run {run_id} is failed\nrefused, started ")
    assert "ask   step  failed" in text
    assert "ask: it failed: refused: the bank said no [step_failed]" in text
    assert f"flask squidmesh replay {run_id}" in text


def test_terminal_is_drawn_anew_in_place(world, url, process):
    run_id = world.start(Hold)
    # `script` gives the command a terminal and keeps what it writes.
    command = " ".join((*FLASK, "watch", run_id))
    watching = process(
        *("script", "-qfec", command, "/dev/null"),
        env={"DATABASE_URL": url, "TERM": "xterm"},
        ready="is ready, and waits",
    )
    run_until_idle()
    watching.wait_for_log("somebody to unblock it")
    assert "\x1b[J" in watching.log
    world.squidmesh.cancel_run(run_id)
    assert watching.wait_for_end() == 1
    frames = ESCAPE.sub("", watching.log.replace("\x1b[J", "\f")).split("\f")
    assert frames[-1].lstrip().startswith(f"Run {run_id} is cancelled")

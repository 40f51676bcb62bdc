"""What is printed fits the terminal, and is plain where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from flask_squidmesh.cli import output
from flask_squidmesh.testing import run_until_idle
from tests.cli.conftest import ESCAPE, on_terminal
from tests.cli.workflows import Purchase, Refused
from tests.support.databases import Databases

pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def databases(sqlite_databases: Databases) -> Databases:
    """One kind is enough: this is only about what is printed."""
    return sqlite_databases


@pytest.fixture
def terminal(world) -> Callable[..., str]:
    world.start(Purchase, {"item": "tea"})
    world.start(Refused)
    run_until_idle()
    return lambda *arguments, **options: on_terminal(world.app, *arguments, **options)


def test_statuses_are_coloured_on_a_terminal_only(terminal, shell):
    assert "\x1b[31mfailed\x1b[0m" in terminal("runs")
    assert "\x1b" not in shell.does("runs")


def test_no_color_is_honoured(terminal, shell):
    assert terminal("runs", NO_COLOR="1", columns=400) == shell.does("runs")
    assert "\x1b" not in terminal("runs", TERM="dumb")


@pytest.mark.parametrize("columns", [60, 90, 120, 150])
def test_tables_fit_the_terminal_and_keep_ids_whole(terminal, world, columns):
    lines = ESCAPE.sub("", terminal("runs", columns=columns)).splitlines()
    assert max(map(len, lines)) <= columns
    assert {line.split()[0] for line in lines[1:]} == {r.id for r in world.squidmesh.list_runs()}


def test_tables_are_not_cut_elsewhere(terminal, shell):
    assert "refused: the bank said no" in shell.does("runs")
    assert "..." not in shell.does("runs")


def test_columns_are_those_the_terminal_shows():
    lines = output.table(("name", "value"), [("漢字", "x"), ("abcd", "y"), ("e\u0301", None)])
    assert lines == ["NAME  VALUE", "漢字  x", "abcd  y", "e\u0301"]


def test_empty_columns_are_left_out():
    assert output.table(("a", "b", "c"), [("1", None, "2")]) == ["A  C", "1  2"]


def test_text_that_the_output_can_not_encode_is_spelled_out(world):
    run = world.squidmesh.start_run("purchase", {"item": "Tee für 🦑"})
    typing = world.app.test_cli_runner(charset="ascii")
    shown = typing.invoke(args=("squidmesh", "inspect", run.id))
    assert (shown.exit_code, shown.exception) == (0, None)
    assert r"Tee f\xfcr \U0001f991" in shown.output


def test_reader_that_went_away_is_no_error(url, world):
    for _ in range(5):
        world.squidmesh.start_run("hold")
    command = f"{sys.executable} -m flask --app tests.cli.host_app squidmesh runs | head -1"
    ran = subprocess.run(  # noqa: S602  # the pipe is what this is about
        command,
        shell=True,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.startswith("RUN ")
    assert "Traceback" not in ran.stderr

"""Starts racers, and lets all of them go at the same moment."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.concurrency import racers
from tests.contract.host import World, db, empty, make_world, prepare
from tests.support.databases import Databases
from tests.support.process import Process

RACERS = 4
Race = Callable[..., list[list[dict[str, Any]]]]


def prepare_with_signs(url: str) -> None:
    """Create all tables, and one that steps leave signs in."""
    prepare(url)
    with make_world(url), db.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE executions (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
        )


@pytest.fixture(scope="module")
def shared_url(postgres_databases: Databases) -> Iterator[str]:
    """A database on PostgreSQL with all tables, for all tests of a module."""
    url = postgres_databases.create(prepare_with_signs)
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def url(shared_url: str) -> str:
    """The same without rows."""
    empty(shared_url)
    with make_world(shared_url), db.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE executions")
    return shared_url


@pytest.fixture
def world(url: str) -> Iterator[World]:
    """An application that knows the workflows of the racers."""
    with racers.open_world(url) as opened:
        yield opened


@pytest.fixture
def race(url: str, process: Callable[..., Process], tmp_path: Path) -> Race:
    """Let processes act at once, round by round; return the answers of each round."""

    def run(what: str, *arguments: str, rounds: int) -> list[list[dict[str, Any]]]:
        command = (sys.executable, "-m", "tests.concurrency.racers", what, url, str(tmp_path))
        started = [process(*command, str(rounds), *arguments) for _ in range(RACERS)]
        for number in range(rounds):
            for each in started:
                each.wait_for_log(rf"ready {number}\b", timeout=60)
            (tmp_path / f"go-{number}").touch()
        for each in started:
            each.wait_for_end(timeout=60)
            assert re.search("^done$", each.log, re.MULTILINE), each.log
        lines = [line for each in started for line in each.log.splitlines() if line[:1] == "{"]
        answers = [json.loads(line) for line in lines]
        return [[a for a in answers if a["round"] == number] for number in range(rounds)]

    return run

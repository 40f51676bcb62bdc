"""The map of the contract and the list of guards are true, and leave nothing out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from flask_squidmesh import SquidMesh, SquidMeshError, exceptions, signals, testing
from flask_squidmesh.config import known_keys
from flask_squidmesh.engine.explain import ACTIONS
from flask_squidmesh.lifecycle.states import RUN
from tools.check_guards import Guard, guards

TESTS = Path(__file__).parent
ROOT = TESTS.parent
MAP = (TESTS / "contract_map.md").read_text(encoding="utf-8")
GUARDS = list(guards((TESTS / "guards.md").read_text(encoding="utf-8")))
SECTIONS = ("2.", "3.", "4.", "5.", "8.", "9.", "10.", "11.", "12.")
ROW = re.compile(r"^\| (?P<promise>.+?) \| (?P<tests>[^|]*) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """A promise, and the tests that are named for it."""

    section: str
    promise: str
    tests: tuple[str, ...]


def rows() -> Iterator[Row]:
    for part in MAP.split("\n## ")[1:]:
        section = part.split(" ", 1)[0]
        for found in ROW.finditer(part):
            if found["promise"] not in ("promise", "---"):
                yield Row(section, found["promise"], tuple(CODE.findall(found["tests"])))


ROWS = tuple(rows())
PROMISES = "\n".join(row.promise for row in ROWS)


@cache
def names_in(path: str) -> frozenset[str]:
    file = TESTS / path
    if not file.is_file():
        return frozenset()
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return frozenset(
        each.name
        for each in body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    )


def exists(test: str) -> bool:
    path, _, name = test.partition("::")
    return name in names_in(path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section} {row.promise}"[:60])
def test_every_promise_has_tests_that_exist(row):
    assert row.tests
    assert [test for test in row.tests if not exists(test)] == []


def test_every_section_is_mapped():
    assert tuple(dict.fromkeys(row.section for row in ROWS)) == SECTIONS
    promises = [(row.section, row.promise) for row in ROWS]
    assert len(set(promises)) == len(promises)


def test_everything_the_package_names_is_promised():
    methods = {name for name in vars(SquidMesh) if name.endswith("_run") or name == "config"}
    methods |= {"list_runs", "inspect_run_graph", "register", "init_app"}
    errors = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, SquidMeshError)
    }
    errors |= {"StepFailed", "RetryStep"}
    named = {
        *known_keys(),
        *methods,
        *errors,
        *testing.__all__,
        *(name for name in vars(signals) if name.startswith(("run_", "step_"))),
        *(f"explanation `{reason}`" for reason in ACTIONS),
        *(f"run states: {before} to" for before, _ in RUN),
    }
    assert sorted(name for name in named if name not in PROMISES) == []


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_is_where_the_list_says_and_has_tests(guard: Guard):
    """`make guards` takes each of them out and sees its tests fail."""
    text = (ROOT / guard.path).read_text(encoding="utf-8")
    assert guard.taken_out_of(text) != text
    assert guard.tests
    assert [test for test in guard.tests if not exists(test.removeprefix("tests/"))] == []


def test_list_of_guards_is_read_as_a_whole():
    headings = re.findall("^## (.+)$", (TESTS / "guards.md").read_text(), re.MULTILINE)
    assert [guard.name for guard in GUARDS] == headings

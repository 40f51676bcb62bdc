"""The guide for operators names tests as proofs; they exist, and every promise has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>\w+)`")
PROOFS = sorted({(found["path"], found["name"]) for found in NAMED.finditer(GUIDE)})


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@pytest.mark.parametrize(("path", "name"), PROOFS, ids=lambda text: text)
def test_named_test_exists(path: str, name: str):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("heading", ["What is promised", "What happens when"])
def test_every_row_names_its_test(heading: str):
    found = rows(heading)
    assert len(found) >= 7
    assert [row[0] for row in found if not NAMED.search(row[-1])] == []


def test_every_promise_of_the_specification_is_there():
    numbers = [re.match(r"\d", row[0]) for row in rows("What is promised")]
    assert [int(found.group()) for found in numbers if found] == list(range(1, 8))

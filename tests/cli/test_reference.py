"""docs/cli.md describes every command with exactly the options it has."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from flask_squidmesh.cli import squidmesh_cli
from flask_squidmesh.cli.check import examine
from flask_squidmesh.current import state

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(
    zip(*[iter(re.split(r"^### `(\w+)`$", TEXT, flags=re.MULTILINE)[1:])] * 2, strict=True)
)


def test_every_command_has_a_section():
    assert set(SECTIONS) == set(squidmesh_cli.commands)


@pytest.mark.parametrize("name", squidmesh_cli.commands)
def test_section_has_exactly_the_options_and_an_example(name):
    section = SECTIONS[name].partition("\n## ")[0]
    options = {
        flag
        for each in squidmesh_cli.commands[name].params
        if isinstance(each, click.Option)
        for flag in each.opts
    }
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `-")]
    assert {flag for row in rows for flag in re.findall(r"`(-[\w-]+)", row)} == options
    assert f"flask squidmesh {name}" in section


def test_checks_are_those_the_doctor_makes(world):
    listed = set(re.findall(r"^\| (\w+) \|", SECTIONS["check"], re.MULTILINE))
    made = {finding.check for finding in examine(state())}
    assert made <= listed
    source = "".join(
        path.read_text()
        for path in (Path(__file__).parents[2] / "flask_squidmesh/cli").glob("*.py")
    )
    calls = re.findall(r"(?:ok|warning|problem|skipped|report)\(\s*\"(\w+)\"", source)
    assert set(calls) == listed - {"check", "option"}

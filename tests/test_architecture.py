"""The shape of the package: which way imports go, how large modules are, what they are called."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

MAX_LINES = 400
NAMES_THAT_SAY_NOTHING = {"base", "common", "helper", "helpers", "misc", "util", "utils"}
EDGES = {"cli", "http", "ui"}


@pytest.fixture(scope="session")
def package(pytestconfig):
    return pytestconfig.rootpath / "flask_squidmesh"


@pytest.fixture(scope="session")
def contracts(pytestconfig):
    settings = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())
    return settings["tool"]["importlinter"]["contracts"]


def test_imports_go_downward_only(pytestconfig):
    lint = (sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()")
    checked = subprocess.run(
        [*lint, "--no-cache", "--no-logo"],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_contract_of_the_edges_names_every_edge(package, contracts):
    (contract,) = (each for each in contracts if each["name"].startswith("Edges import"))
    existing = {f"flask_squidmesh.{edge}" for edge in EDGES if any(package.glob(f"{edge}*"))}
    assert set(contract["source_modules"]) == existing


def test_no_module_is_over_400_lines(package):
    lines = {path: len(path.read_text().splitlines()) for path in package.rglob("*.py")}
    assert {path.name: n for path, n in lines.items() if n > MAX_LINES} == {}


def test_no_module_has_a_name_that_says_nothing(package):
    assert [path for path in package.rglob("*") if path.stem in NAMES_THAT_SAY_NOTHING] == []


def test_no_module_imports_names_from_the_package_itself(package):
    # They are re-exports from above.
    importers = [
        p for p in package.rglob("*.py") if "\nfrom flask_squidmesh import" in p.read_text()
    ]
    assert importers == []

"""`flask smoke`, `flask resilience` and `flask soak` of the example, on both stacks."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from minimal_host_app.workflows import __all__ as workflows

from tests.acceptance.host import ENVIRONMENT, EXAMPLES, ROOT, flask, prepare
from tests.support.databases import Databases
from tests.support.process import Process, Processes

COMMANDS = {
    "smoke": ("smoke",),
    "resilience": ("resilience",),
    "soak": ("soak", "--seconds", "60", "--runs", "22", "--clients", "8"),
}
NAMES = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in workflows}
QUICKLY = {"HOST_APP_SQUIDMESH_TICK_INTERVAL": "0.2"}

# The commands choose it themselves: seconds where workers are killed, else the usual minute.
WITHOUT_LEASE = {
    name: value for name, value in ENVIRONMENT.items() if name != "HOST_APP_SQUIDMESH_LEASE_TTL"
}

Start = Callable[[str], Process]


def failed(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (case["title"], check)
        for case in report["cases"]
        for check in case["checks"]
        if not check["passed"]
    ]


@pytest.fixture
def on_sqlite(processes: Processes, tmp_path: Path) -> Start:
    """Starts a command that nothing was configured for, in a copy, where Flask makes a folder."""
    copy = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("instance", "__pycache__"))

    def start(command: str) -> Process:
        paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(copy)))}
        environment = {**WITHOUT_LEASE, **QUICKLY, **paths}
        return processes.start(*flask(*COMMANDS[command], "--json"), cwd=copy, env=environment)

    return start


@pytest.fixture
def on_servers(processes: Processes, postgres_databases: Databases, valkey_url: str) -> Start:
    """Starts a command on a database and a broker of its own."""

    def start(command: str) -> Process:
        number = 1 + list(COMMANDS).index(command)
        servers = {
            "HOST_APP_DATABASE_URL": postgres_databases.create(prepare),
            "HOST_APP_BROKER_URL": f"{valkey_url.rpartition('/')[0]}/{number}",
        }
        environment = {**WITHOUT_LEASE, **QUICKLY, **servers}
        return processes.start(*flask(*COMMANDS[command], "--json"), cwd=EXAMPLES, env=environment)

    return start


@pytest.fixture(params=["on_sqlite", "on_servers"])
def reports(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the three commands say, all of them running at the same time."""
    start: Start = request.getfixturevalue(request.param)
    running = {command: start(command) for command in COMMANDS}
    said = {}
    for command, process in running.items():
        code = process.wait_for_end(timeout=200)
        said[command] = json.loads(process.log)
        assert (code, failed(said[command])) == (0, []), said[command]["worker_logs"]
    return said


@pytest.mark.timeout(240)
def test_example_works_survives_and_endures(reports: dict[str, Any], tmp_path: Path):
    for command, report in reports.items():
        assert (report["command"], report["passed"], report["worker_logs"]) == (command, True, {})
        checks = [check for case in report["cases"] for check in case["checks"]]
        assert all(check["expected"] == check["found"] for check in checks)
        assert all(case["checks"] for case in report["cases"])
        assert ("temporary" in report["stack"]["database"]) == (report["stack"]["broker"] == "none")
    # Neither processes nor files stay behind.
    assert not list(tmp_path.glob("host-app-*"))

    smoke = reports["smoke"]["cases"]
    assert {case["workflow"] for case in smoke} == NAMES

    resilience = reports["resilience"]["cases"]
    situations = [re.search(r"executes|delayed|retry|paused", case["title"]) for case in resilience]
    assert [found and found.group() for found in situations] == [
        "executes",
        "delayed",
        "retry",
        "paused",
    ]
    said = [[note["text"] for note in case["notes"]] for case in resilience]
    killed = [re.findall(r"process (\d+) \(SIGKILL\)", "\n".join(notes)) for notes in said]
    assert [len(pids) for pids in killed] == [1, 1, 1, 1]
    assert not any(psutil.pid_exists(int(pid)) for (pid,) in killed if int(pid) != os.getpid())

    figures = reports["soak"]["workflows"]
    assert set(figures) == NAMES
    for figure in figures.values():
        assert set(figure["statuses"]) <= {"completed", "cancelled"}
        assert 0 < figure["p50"] <= figure["p95"] <= figure["max"]

"""Everything in one process: the demo and `flask squidmesh dev`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from minimal_host_app.gateway import Gateway

from tests.acceptance.host import ENVIRONMENT, EXAMPLES, Client, Host, address_in, prepare
from tests.support.databases import Databases
from tests.support.process import Process, Processes


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_demo_works_twice_in_a_row_and_leaves_nothing(
    process: Callable[..., Process], tmp_path: Path
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = files(EXAMPLES)
    for _ in range(2):
        demo = process(
            sys.executable,
            *("-m", "minimal_host_app.demo"),
            cwd=EXAMPLES,
            env={**ENVIRONMENT, "TMPDIR": str(temporary)},
        )
        assert demo.wait_for_end(timeout=60) == 0
        lines = demo.log.splitlines()
        assert lines[-1] == "Everything ended as it should."
        # No terminal: nothing is drawn over, nothing is coloured.
        assert all(line.isprintable() for line in lines)
        assert "Server error '503 Service Unavailable'" in demo.log
        assert sum("check_gateway    attempt" in line for line in lines) == 4
        assert 'approved by olivia@example.org, saying "I have seen both' in demo.log
        assert sum(line.startswith("Timeline of ") for line in lines) == 2
        assert "Traceback" not in demo.log
    assert list(temporary.iterdir()) == []
    assert files(EXAMPLES) == before


def test_demo_says_what_is_wrong_and_fails(process: Callable[..., Process]):
    demo = process(
        sys.executable,
        *("-m", "minimal_host_app.demo"),
        cwd=EXAMPLES,
        env={**ENVIRONMENT, "HOST_APP_SQUIDMESH_DISPATCH": "manual"},
    )
    assert demo.wait_for_end(timeout=60) == 1
    assert "The demo FAILED: " in demo.log


def test_dev_serves_and_works_until_it_is_told_to_end(
    processes: Processes, sqlite_databases: Databases, gateway: Gateway
):
    gateway.failures = 0
    url = sqlite_databases.create(prepare)
    host = Host(processes, database_url=url, gateway_url=gateway.url)
    dev = host.start("squidmesh", "dev", "--port", "0", ready=r"Serving on http://\S+")
    client = Client(address_in(dev.log))
    assert client.wait_for(client.recover("ada"))["status"] == "completed"
    assert dev.terminate(timeout=10) == 0
    assert "Traceback" not in dev.log
    with pytest.raises(httpx.ConnectError):
        client.run("anything")
    sqlite_databases.drop(url)

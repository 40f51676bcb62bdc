"""Somebody new follows the example's README, and everything is as written."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.host import EXAMPLES
from tests.docs.tour import Tour
from tests.support.databases import Databases
from tests.support.process import MARK

README = EXAMPLES / "minimal_host_app" / "README.md"


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


@pytest.mark.worker
@pytest.mark.timeout(300)
def test_somebody_new_gets_from_a_clone_to_workers_in_production(
    tmp_path: Path, postgres_databases: Databases, broker_url: str
):
    web, gateway = free_ports(2)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": str(tmp_path),
        MARK: os.environ[MARK],
        # Several sessions share a machine: free ports instead of those written.
        "FLASK_SQUIDMESH_DEV_PORT": str(web),
        "HOST_APP_GATEWAY_URL": f"http://127.0.0.1:{gateway}/charges",
    }
    with Tour(tmp_path, environment) as tour:
        shutil.copytree(
            EXAMPLES,
            tmp_path / "home" / "flask_squidmesh" / "examples",
            ignore=shutil.ignore_patterns("instance", "__pycache__"),
        )
        tour.learned |= {
            "127.0.0.1:5000": f"127.0.0.1:{web}",
            "--port 8765": f"--port {gateway}",
            "postgresql+psycopg://billing:secret@localhost/billing": postgres_databases.create(),
            "redis://localhost:6379/0": broker_url,
        }
        tour.follow(README.read_text(encoding="utf-8"))
    assert len([written for written in tour.learned if "-7" in written]) == 2

"""The example application as its users run it: every part a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import httpx

from flask_squidmesh.clock import wait_until
from tests.support.process import Process, Processes

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WORKER = "minimal_host_app.worker"
LEASE = 2.0
OVER = ("completed", "failed", "cancelled")

Document = dict[str, Any]

ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(EXAMPLES))),
    "HOST_APP_SQUIDMESH_LEASE_TTL": str(LEASE),
    # All parts are on this machine, whatever proxy it uses for the rest.
    "no_proxy": "127.0.0.1",
}


def flask(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "flask", "--app", "minimal_host_app", *arguments)


def prepare(database_url: str) -> None:
    """Migrate and seed a database, as the README says."""
    environment = {**os.environ, **ENVIRONMENT, "HOST_APP_DATABASE_URL": database_url}
    for command in (("db", "upgrade"), ("seed",)):
        done = subprocess.run(
            flask(*command), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


class Host:
    """The application on one database and one broker."""

    def __init__(self, processes: Processes, **settings: str) -> None:
        given = {f"HOST_APP_{name.upper()}": value for name, value in settings.items()}
        self.environment = {**ENVIRONMENT, **given}
        self._processes = processes

    def start_web(self) -> Client:
        web = self.start("run", "--port", "0", ready=r"Running on http://\S+")
        return Client(address_in(web.log))

    def start_worker(self, *arguments: str) -> Process:
        return self._processes.start_worker(WORKER, *arguments, env=self.environment)

    def start(self, *arguments: str, ready: str) -> Process:
        """Start `flask ...`."""
        return self._processes.start(*flask(*arguments), ready=ready, env=self.environment)


def address_in(log: str) -> str:
    """Return the address that a server says it listens at."""
    found = re.search(r"http://127\.0\.0\.1:\d+", log)
    assert found, log
    return found.group()


class Client:
    """Talks to the views."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._http = httpx.Client(base_url=address, timeout=30, trust_env=False)

    def post(self, path: str, document: Mapping[str, Any], **headers: str) -> Document:
        answer = self._http.post(path, json=document, headers=headers)
        answer.raise_for_status()
        found: Document = answer.json()
        return found

    def recover(self, name: str) -> str:
        """Start the recovery of this account's payment; return the run's id."""
        invoice = {"account_id": name, "invoice_id": f"invoice-{name}"}
        run = self.post("/payment-recoveries", invoice)
        assert run["status"] == "pending"
        return str(run["id"])

    def run(self, run_id: str) -> Document:
        """Return the run with its history."""
        answer = self._http.get(f"/runs/{run_id}?include_history=1")
        answer.raise_for_status()
        found: Document = answer.json()
        return found

    def wait_for(
        self, run_id: str, statuses: Collection[str] = OVER, *, timeout: float = 30
    ) -> Document:
        """Return the run once it has one of these statuses."""

        def is_there() -> bool:
            return self.run(run_id)["status"] in statuses

        assert wait_until(is_there, timeout=timeout, interval=0.05), self.run(run_id)
        return self.run(run_id)

    def close(self) -> None:
        self._http.close()


def attempts_of(run: Document, step: str) -> list[Document]:
    """Return the attempts of a step that was entered once."""
    (step_run,) = [each for each in run["step_runs"] if each["step"] == step]
    attempts: list[Document] = step_run["attempts"]
    return attempts


def process_of(attempt: Document) -> int:
    """Return the id of the process that made an attempt."""
    return int(attempt["worker"].partition("@")[0])

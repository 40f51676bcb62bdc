"""What the commands run on: a database, a gateway, and workers in this process or others.

What is configured is used. Without a database, one is made in a temporary
folder; without a broker, workers are embedded: SQLite and a single process are
enough to try everything.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo
from flask_migrate import upgrade
from sqlalchemy import inspect, make_url
from sqlalchemy.exc import OperationalError

from flask_squidmesh.dispatch.embedded import EmbeddedWorker
from minimal_host_app import accounts
from minimal_host_app.commands.workers import Worker
from minimal_host_app.extensions import close_database, db
from minimal_host_app.gateway import Gateway
from minimal_host_app.settings import NO_BROKER, NO_DATABASE

CreateApp = Callable[[Mapping[str, Any] | None], Flask]
CREATE_APP = "minimal_host_app.create_app"
"""Under this name the application's extensions hold its factory."""

SOURCES = Path(__file__).parents[2]


class Stack:
    """A running application, without workers until some are started."""

    def __init__(self, app: Flask, gateway: Gateway, folder: Path, database: str) -> None:
        self.app = app
        self._database = database
        self.gateway = gateway
        self.folder = folder
        self.is_embedded = app.config["BROKER_URL"] == NO_BROKER
        self.stopping = threading.Event()
        self.workers: list[Worker] = []
        # Accounts of this use only, so that a database may be used many times.
        self.prefix = f"{secrets.token_hex(4)}-"
        self._count = 0
        self._lock = threading.Lock()

    def describe(self, workers: str) -> dict[str, Any]:
        return {
            "database": self._database,
            "broker": "none" if self.is_embedded else _shown(self.app.config["BROKER_URL"]),
            "workers": workers,
            "gateway": self.gateway.url,
        }

    def open_account(self, *, balance: int = 0) -> str:
        """Add an account with an open invoice of 4200; return its id."""
        with self._lock:
            self._count += 1
            account_id = f"{self.prefix}{self._count:06}"
        with self.app.app_context():
            accounts.open_account(account_id, email=f"{account_id}@example.org", balance=balance)
        return account_id

    def start_worker(self, *, concurrency: int) -> Worker:
        """Start a worker as a process of its own."""
        command = ["squidmesh", "worker", "--without-mingle", "--without-gossip"]
        if self.is_embedded:
            command = ["squidmesh", "dev", "--port", "0"]
        log = self.folder / f"worker-{len(self.workers) + 1}.log"
        worker = Worker([*command, "-c", str(concurrency)], self._environment(), log)
        self.workers.append(worker)
        return worker

    def failed_workers(self) -> list[int]:
        """Return the processes of workers that ended by themselves."""
        return [worker.pid for worker in self.workers if worker.has_failed()]

    def logs(self) -> dict[str, list[str]]:
        """Return the last lines of each worker process."""
        return {
            path.name: path.read_text(errors="replace").splitlines()[-15:]
            for path in sorted(self.folder.glob("*.log"))
        }

    def _environment(self) -> dict[str, str]:
        paths = [str(SOURCES), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "HOST_APP_DATABASE_URL": self.app.config["DATABASE_URL"],
            "HOST_APP_BROKER_URL": self.app.config["BROKER_URL"],
            "HOST_APP_SQUIDMESH_LEASE_TTL": str(self.app.config["SQUIDMESH_LEASE_TTL"]),
        }


@contextmanager
def running_stack(
    script: ScriptInfo, *, gateway_failures: int, lease_ttl: float = 60
) -> Iterator[Stack]:
    """Give the stack that is configured, or the embedded one; leave no process behind.

    *lease_ttl* is for an application that sets none.
    """
    # Ended by SIGTERM, a command tidies up as after Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The gateway is on this machine, whatever proxy it uses for the rest.
    os.environ["no_proxy"] = "127.0.0.1"
    configured = script.load_app()
    create_app: CreateApp = configured.extensions[CREATE_APP]
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="host-app-")))
        parts.enter_context(_logging_to(folder / "here.log"))
        gateway = parts.enter_context(Gateway(failures=gateway_failures, declined=()))
        url = configured.config["DATABASE_URL"]
        is_temporary = url == NO_DATABASE
        if is_temporary:
            url = f"sqlite:///{folder}/host_app.sqlite3"
        app = create_app(
            {
                "DATABASE_URL": url,
                "BROKER_URL": configured.config["BROKER_URL"],
                "GATEWAY_URL": gateway.url,
                "SQUIDMESH_LEASE_TTL": configured.config.get("SQUIDMESH_LEASE_TTL", lease_ttl),
            }
        )
        parts.callback(close_database, app)
        with app.app_context():
            if is_temporary:
                upgrade()
            else:
                _require_tables()
        shown = f"{_shown(url)} (temporary)" if is_temporary else _shown(url)
        stack = Stack(app, gateway, folder, shown)
        try:
            yield stack
        finally:
            stack.stopping.set()
            for worker in stack.workers:
                worker.ask_to_end()
            for worker in stack.workers:
                worker.end()


@contextmanager
def working(stack: Stack, *, workers: int) -> Iterator[None]:
    """Have *workers* work: threads of this process, or processes when there is a broker."""
    if stack.is_embedded:
        with EmbeddedWorker(stack.app, concurrency=4):
            yield
        return
    for worker in [stack.start_worker(concurrency=2) for _ in range(workers)]:
        worker.wait_until_ready()
    yield


def who_works(stack: Stack, *, workers: int) -> str:
    if stack.is_embedded:
        return "4 threads of this process"
    return f"{workers} started by this command" if workers else "those that run already"


def _require_tables() -> None:
    try:
        is_migrated = inspect(db.engine).has_table("ledger_entries")
    except OperationalError as error:
        raise click.ClickException(f"the database does not answer: {error.orig}") from error
    if not is_migrated:
        raise click.ClickException(
            "the database lacks tables: run 'flask --app minimal_host_app db upgrade'"
        )


def _shown(url: str) -> str:
    """Return a URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Keep what this process logs out of the report."""
    handler, root = logging.FileHandler(path), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
        handler.close()

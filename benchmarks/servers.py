"""The PostgreSQL and the Valkey of a benchmark, and the programs it starts.

All of it is temporary. PostgreSQL keeps its defaults: every commit is on disk
before it is answered, for whoever is measured.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import redis

from tests.support.databases import PostgresDatabases
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.process import Process, Processes
from tests.support.valkey import Broker

CHECKOUT: Final = Path(__file__).parents[1]
DURABILITY: Final = ("fsync", "synchronous_commit", "full_page_writes")


@dataclass
class Servers:
    """What a measure may use; everything in it ends with `servers`."""

    postgres: PostgresServer
    broker: Broker
    databases: PostgresDatabases
    processes: Processes
    _running: list[Process] = field(default_factory=list)

    def database(self) -> str:
        """Create an empty database, and return its URL for SQLAlchemy."""
        return self.databases.create()

    def start(self, *arguments: str, ready: str, env: Mapping[str, str]) -> Process:
        """Start a Python program, and return when a line of its log matches *ready*."""
        process = self.processes.start(sys.executable, *arguments, ready=ready, env=env)
        self._running.append(process)
        return process

    @staticmethod
    def signal(number: signal.Signals, *processes: Process) -> None:
        """Send a signal to programs and all they have started."""
        for process in processes:
            os.killpg(process.pid, number)

    def end(self, *processes: Process) -> None:
        """Kill programs with all they have started."""
        for process in processes:
            process.kill9()
            self._running.remove(process)

    def end_all(self) -> None:
        """Kill whatever still runs."""
        self.end(*self._running)

    def settle(self) -> None:
        """Write out what is dirty, so that nobody pays for the work of who came before."""
        with psycopg.connect(plain(self.postgres.url()), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def count_statements(self) -> None:
        """Restart PostgreSQL with the extension that counts what it is asked."""
        with psycopg.connect(plain(self.postgres.url()), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements")
        self.postgres.stop()
        self.postgres.start()
        with psycopg.connect(plain(self.postgres.url()), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")

    def facts(self) -> dict[str, str]:
        """Return the versions of the servers, and the settings that decide about durability."""
        with psycopg.connect(plain(self.postgres.url())) as connection:
            shown = {name: _show(connection, name) for name in ("server_version", *DURABILITY)}
        with redis.Redis.from_url(self.broker.url) as client:
            info: Any = client.info("server")
        version = info.get("valkey_version") or info["redis_version"]
        return {"postgresql": shown.pop("server_version"), "valkey": str(version), **shown}


def _show(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    return str(row[0]) if row else ""


def plain(url: str) -> str:
    """Return SQLAlchemy's *url* as psycopg takes it."""
    return url.replace("+psycopg", "")


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both servers, and leave nothing behind."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="squidmesh-bench-")))
        broker = Broker(folder)
        stack.callback(broker.remove)
        processes = Processes(folder, cwd=CHECKOUT)
        started = Servers(postgres, broker, PostgresDatabases(postgres.url()), processes)
        stack.callback(started.end_all)
        yield started

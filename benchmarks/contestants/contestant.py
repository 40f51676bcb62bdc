"""What a contestant can do."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from importlib import metadata
from typing import Any, ClassVar

import psycopg

from benchmarks.servers import Servers, plain
from tests.support.process import Process


class Contestant(ABC):
    """One way of executing runs of `benchmarks.work.STEPS`, in processes of its own.

    Attributes:
        name: What the table calls it.
        distributions: The packages whose versions are stated with the figures.
    """

    name: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]

    def __init__(self, servers: Servers) -> None:
        """Create what it stores its runs in."""
        self.servers = servers
        self.workers: list[Process] = []

    @classmethod
    def versions(cls) -> dict[str, str] | None:
        """Return the versions of its packages; None: they are not all installed."""
        try:
            return {name: metadata.version(name) for name in cls.distributions}
        except metadata.PackageNotFoundError:
            return None

    @abstractmethod
    def enqueue(self, runs: int) -> None:
        """Start that many runs, one call and one transaction each."""

    @abstractmethod
    def start_worker(self, number: int, of: int) -> Process:
        """Start worker process *number* of *of*, and return once it is about to take work."""

    @abstractmethod
    def steps_done(self) -> int:
        """Return how many steps were executed since `reset`, as far as anybody else can see."""

    @abstractmethod
    def reset(self) -> None:
        """Forget finished runs, so that each turn begins alike."""

    def start_workers(self, count: int) -> None:
        """Start *count* worker processes, and stop them as soon as they are ready."""
        self.workers = [self.start_worker(number, count) for number in range(count)]
        self.hold_workers()

    def hold_workers(self) -> None:
        """Stop them wherever they are."""
        self.servers.signal(signal.SIGSTOP, *self.workers)

    def release_workers(self) -> None:
        """Let them go on, all at once."""
        self.servers.signal(signal.SIGCONT, *self.workers)

    def stop_workers(self) -> None:
        """End the worker processes."""
        self.servers.end(*self.workers)
        self.workers = []

    def close(self) -> None:
        """Give up what this process holds."""
        self.stop_workers()


class InPostgres(Contestant):
    """A contestant whose steps can be counted in a database of its own.

    Attributes:
        finished_steps: A query for the number of executed steps.
        cleared: Tables that are emptied between turns.
        asked: How often `steps_done` has asked the server.
    """

    finished_steps: ClassVar[str]
    cleared: ClassVar[tuple[str, ...]]

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        self.url = servers.database()
        self.create()
        self.asked = 0
        self.connection: psycopg.Connection[Any] = psycopg.connect(plain(self.url), autocommit=True)

    @abstractmethod
    def create(self) -> None:
        """Create the tables in the empty database `url`."""

    def steps_done(self) -> int:
        self.asked += 1
        row = self.connection.execute(self.finished_steps).fetchone()
        return int(row[0]) if row else 0

    def reset(self) -> None:
        self.connection.execute(f"TRUNCATE {', '.join(self.cleared)} CASCADE")

    def close(self) -> None:
        super().close()
        self.connection.close()

"""The workers, as the conductor knows them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import psutil

from flask_squidmesh.clock import Clock, wait_until

KINDS: Final = (("prefork", 2), ("threads", 4), ("solo", 1), ("prefork", 3))
"""Pool and concurrency of the workers, over and over."""


@dataclass(frozen=True)
class Worker:
    """A worker: the process that the nursery has forked, whose group has its id."""

    name: str
    pool: str
    concurrency: int
    pid: int

    def is_alive(self) -> bool:
        """Return whether its first process lives."""
        return bool(psutil.pid_exists(self.pid))


@dataclass(frozen=True)
class Death:
    """Processes of a worker that were killed, and when."""

    at: datetime
    pids: frozenset[int]


class Fleet:
    """Starts workers, and kills, stops and continues them. Safe to use from several threads."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, size: int) -> None:
        self.deaths: list[Death] = []
        self.gave_up = 0
        self.folder = folder
        self._clock = Clock()
        self._lock = threading.Lock()
        self._frozen: set[str] = set()
        self._number = 0
        # Its standard error goes where ours goes.
        self._nursery = subprocess.Popen(  # noqa: S603  # our own program
            (sys.executable, "-m", "benchmarks.chaos.nursery", str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        self._workers: list[Worker] = []
        self._size = size
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def start(self) -> None:
        """Bring all workers up, and return once they consume."""
        self._workers = [self._new(*KINDS[n % len(KINDS)]) for n in range(self._size)]
        if not wait_until(lambda: all(map(self._is_ready, self._workers)), timeout=60):
            raise RuntimeError("the workers did not start; look into their logs")

        self._supervisor.start()

    def _supervise(self) -> None:
        """Replace workers that ended by themselves, as a supervisor does in production."""
        while not self._closing.wait(1.0):
            with self._lock:
                for number, worker in enumerate(self._workers):
                    if not worker.is_alive():
                        self.gave_up += 1
                        self._workers[number] = self._new(worker.pool, worker.concurrency)

    def _is_ready(self, worker: Worker) -> bool:
        log = self.folder / f"{worker.name}.log"
        return log.exists() and " ready." in log.read_text(errors="replace")

    def kill(self, chance: random.Random) -> str:
        """Kill a worker, with or without its pool, or one process of its pool, and replace it."""
        with self._lock:
            number = chance.randrange(len(self._workers))
            worker = self._workers[number]
            children = _children(worker.pid)
            how = chance.choice(("whole", "whole", "parent", "child")) if children else "whole"
            if how == "child":
                victim = chance.choice(children)
                self._note_death(victim)
                _send(os.kill, victim, signal.SIGKILL)
                return "pool processes killed"
            if how == "parent":
                # The orphans finish what they do, or hang: both may happen, so both is right.
                self._note_death(worker.pid)
                _send(os.kill, worker.pid, signal.SIGKILL)
            else:
                self._note_death(worker.pid, *children)
                _send(os.killpg, worker.pid, signal.SIGKILL)
            self._workers[number] = self._new(worker.pool, worker.concurrency)
            return "workers killed"

    def freeze(self, chance: random.Random) -> Worker | None:
        """Stop a worker, as a hypervisor would; None: all are stopped already."""
        with self._lock:
            running = [w for w in self._workers if w.name not in self._frozen]
            if not running:
                return None
            worker = chance.choice(running)
            self._frozen.add(worker.name)
            _send(os.killpg, worker.pid, signal.SIGSTOP)
            return worker

    def thaw(self, worker: Worker) -> None:
        """Let a stopped worker go on, if it was not killed meanwhile."""
        with self._lock:
            self._frozen.discard(worker.name)
            _send(os.killpg, worker.pid, signal.SIGCONT)

    def kill_all(self) -> None:
        """Kill every worker, and replace none."""
        self._closing.set()
        self._supervisor.join()
        with self._lock:
            for worker in self._workers:
                self._note_death(worker.pid, *_children(worker.pid))
                _send(os.killpg, worker.pid, signal.SIGKILL)
            gone = wait_until(lambda: not any(w.is_alive() for w in self._workers), timeout=10)
            if not gone:
                raise RuntimeError("a worker survived SIGKILL")

    def close(self) -> None:
        """End the nursery, which kills whatever is left."""
        self._closing.set()
        if self._nursery.stdin is not None:
            with suppress(BrokenPipeError):
                self._nursery.stdin.close()
        self._nursery.wait(timeout=10)
        if self._nursery.stdout is not None:
            self._nursery.stdout.close()

    def count_in_logs(self, text: str) -> int:
        """Return how often *text* was logged by all workers there ever were."""
        logs = self.folder.glob("*.log")
        return sum(log.read_text(errors="replace").count(text) for log in logs)

    def _new(self, pool: str, concurrency: int) -> Worker:
        nursery = self._nursery
        if nursery.stdin is None or nursery.stdout is None:
            raise RuntimeError("the nursery has no pipes")
        self._number += 1
        name = f"worker{self._number}"
        nursery.stdin.write(f"{name} {pool} {concurrency}\n")
        nursery.stdin.flush()
        return Worker(name, pool, concurrency, int(nursery.stdout.readline()))

    def _note_death(self, *pids: int) -> None:
        self.deaths.append(Death(self._clock.now, frozenset(pids)))


def _children(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _send(how: object, pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        how(pid, number)  # type: ignore[operator]  # os.kill or os.killpg

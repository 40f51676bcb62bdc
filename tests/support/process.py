"""Programs that tests start, watch and kill.

Each runs in a process group of its own, so that it can be killed with all it
has started, and writes into a log file, so that nothing ever blocks on a pipe.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from flask_squidmesh.clock import wait_until

MARK = "SQUIDMESH_TEST_SESSION"
"""The environment variable by which a test session knows the processes it has to answer for."""


class Process:
    """A running program.

    `options` go to `subprocess.Popen`: `cwd`, `env`, `user`, ...
    """

    def __init__(self, command: Sequence[str], *, log: Path, **options: Any) -> None:
        self.command = tuple(command)
        self.log_path = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )

    @property
    def pid(self) -> int:
        """The id of the process started first, which is also that of its group."""
        return self._popen.pid

    @property
    def log(self) -> str:
        """All it has written so far."""
        return self.log_path.read_text(errors="replace")

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def wait_for(self, condition: Callable[[], bool], *, timeout: float = 30) -> None:
        """Wait until *condition* holds; fail with the log when it does not or the program ends."""
        wait_until(lambda: not self.is_running() or condition(), timeout=timeout)
        if condition():
            return
        what = f"not ready after {timeout:g} s" if self.is_running() else "ended early"
        raise AssertionError(f"{' '.join(self.command)}: {what}; its log:\n{self.log}")

    def wait_for_log(self, pattern: str, *, timeout: float = 30) -> None:
        """Wait until a line of the log matches the regular expression *pattern*."""
        self.wait_for(lambda: re.search(pattern, self.log) is not None, timeout=timeout)

    def wait_for_end(self, *, timeout: float = 30) -> int:
        """Wait until the program has ended by itself; return its exit code."""
        self.wait_for(lambda: not self.is_running(), timeout=timeout)
        return self._popen.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the first process only, as `kill` does; its children decide nothing."""
        self._popen.send_signal(number)

    def terminate(self, *, timeout: float = 30) -> int:
        """Ask the program to end, wait until it did, and return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait_for_end(timeout=timeout)

    def kill9(self) -> None:
        """Kill the program and everything it has started, and wait until all are gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        if not wait_until(lambda: not _members(self.pid), timeout=10):
            raise AssertionError(f"survived SIGKILL: {_members(self.pid)}")


class Processes:
    """Starts programs for one test, with *folder* for their logs, and ends what is left of them."""

    def __init__(self, folder: Path, *, cwd: Path) -> None:
        self._folder = folder
        self._cwd = cwd
        self._started: list[Process] = []

    def start(
        self,
        *command: str,
        ready: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 30,
    ) -> Process:
        """Start *command* and wait until its log matches the regular expression *ready*.

        `env` is added to the environment. Commands run in the checkout unless `cwd` says where.
        """
        # A killed program can not remove its temporary files: they go with those of the test.
        given = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(self._folder), **(env or {})}
        process = Process(
            command,
            log=self._folder / f"process-{len(self._started) + 1}.log",
            env={**os.environ, **given},
            cwd=cwd or self._cwd,
        )
        self._started.append(process)
        if ready is not None:
            process.wait_for_log(ready, timeout=timeout)
        return process

    def start_worker(
        self,
        app: str,
        *arguments: str,
        queues: str = "squidmesh",
        concurrency: int = 2,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 30,
    ) -> Process:
        """Start `celery -A app worker` and wait until it consumes."""
        name = f"worker{len(self._started) + 1}"
        # Without mingle and gossip a worker starts at once, also beside others.
        celery = (sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel", "INFO")
        options = ("-n", f"{name}@%h", "-Q", queues, "-c", str(concurrency))
        quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
        return self.start(
            *(*celery, *options, *quiet, *arguments),
            ready=rf"{name}@\S* ready\.",
            env=env,
            cwd=cwd,
            timeout=timeout,
        )

    def end_all(self) -> None:
        """Kill what still runs, and print all logs: pytest shows them when the test has failed."""
        for process in self._started:
            process.kill9()
            print(f"$ {' '.join(process.command)}\n{process.log}")


def survivors() -> list[psutil.Process]:
    """Return the living processes this test session has started, directly or not."""
    found = {child.pid: child for child in psutil.Process().children(recursive=True)}
    mark = os.environ[MARK]
    for process in psutil.process_iter():
        # Those whose parent has died belong to init now; the environment still tells.
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found[process.pid] = process
    return [each for each in found.values() if _is_alive(each)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _members(group: int) -> list[psutil.Process]:
    """Return the living processes of a process group."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members

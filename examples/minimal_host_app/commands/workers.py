"""Worker processes: started as an operator does, and killed as nobody should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click

from flask_squidmesh.clock import wait_until


class Worker:
    """A worker process; it may be killed at any time."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            # A process group of its own: a pool is killed with all its children.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "minimal_host_app", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._may_end = False

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._may_end = True
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def wait_until_ready(self) -> None:
        """Return once it works; refuse to go on without it."""
        ready = wait_until(lambda: self._says("ready.") or self._is_over(), timeout=30)
        if not ready or self._is_over():
            raise click.ClickException(f"a worker did not start:\n{self._log.read_text()}")

    def has_failed(self) -> bool:
        """Return whether it ended although nobody wanted it to."""
        return self._is_over() and not self._may_end

    def ask_to_end(self) -> None:
        self._may_end = True
        if not self._is_over():
            self._process.terminate()

    def end(self) -> None:
        """Give it ten seconds to end by itself, then kill it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self.kill()

    def _is_over(self) -> bool:
        return self._process.poll() is not None

    def _says(self, text: str) -> bool:
        return text in self._log.read_text(errors="replace")

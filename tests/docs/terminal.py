"""A shell that a test types into, as somebody at a terminal does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from flask_squidmesh.clock import wait_until
from flask_squidmesh.ids import new_id

_ENDS_WITHIN: Final = 60.0


class CommandFailed(Exception):
    """A command did not end, or not with 0."""


class Terminal:
    """A bash that begins in *folder*; what it prints goes into the file *log*."""

    def __init__(self, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.is_busy = False

    def type(self, command: str) -> str:
        """Run *command* to its end and return what it printed."""
        mark = new_id()
        begin = len(self._printed())
        # A subshell would forget `cd` and what is sourced; the line's end ends a comment.
        self._send(f"{{ {command}\n}} </dev/null\nprintf '\\n{mark} %s\\n' $?\n")
        ended = re.compile(rf"\n{mark} (\d+)\n")
        wait_until(lambda: ended.search(self._printed(), begin) is not None, timeout=_ENDS_WITHIN)
        printed = self._printed()[begin:]
        end = ended.search(printed)
        if end is None:
            raise CommandFailed(f"{command}\ndid not end; so far it printed\n{printed}")
        if end[1] != "0":
            raise CommandFailed(f"{command}\nended with {end[1]}:\n{printed[: end.start()]}")
        return printed[: end.start()]

    def leave_running(self, command: str) -> None:
        """Start *command* and keep this terminal for it."""
        self._begin = len(self._printed())
        self._send(f"{command}\n")
        self.is_busy = True

    @property
    def output(self) -> str:
        """What the command that was left running has printed so far."""
        return self._printed()[self._begin :]

    def interrupt(self) -> None:
        """Press Ctrl+C, and wait until what is running here has ended."""
        for child in self._children():
            child.send_signal(signal.SIGINT)
        if not wait_until(lambda: not self._children(), timeout=_ENDS_WITHIN):
            raise CommandFailed(f"Ctrl+C did not end it:\n{self.output}")
        self.is_busy = False

    def close(self) -> None:
        """End everything that runs here."""
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGTERM)
        try:
            self._bash.wait(timeout=10)
            wait_until(lambda: not _group(self._bash.pid), timeout=10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()
            if self._bash.stdin is not None:
                self._bash.stdin.close()

    def _send(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text.encode())
        self._bash.stdin.flush()

    def _printed(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _children(self) -> list[psutil.Process]:
        children: list[psutil.Process] = psutil.Process(self._bash.pid).children()
        return children


def _group(number: int) -> list[int]:
    """Return the processes of a process group."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found

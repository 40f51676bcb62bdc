"""An application with workflows to show, a shell to type commands into, and one of processes."""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fcntl import ioctl
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from flask.cli import ScriptInfo

from tests.contract import host
from tests.contract.host import World
from tests.support.databases import Databases

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

FLASK = (sys.executable, "-m", "flask", "--app", "tests.cli.host_app", "squidmesh")


@dataclass(frozen=True)
class Said:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str


class Shell:
    """Types `flask squidmesh ...` for an application, in this process."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __call__(self, *arguments: str, input: str | None = None) -> Said:
        result = self._app.test_cli_runner().invoke(args=("squidmesh", *arguments), input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def does(self, *arguments: str, input: str | None = None) -> str:
        """Return what a command prints that has to succeed."""
        said = self(*arguments, input=input)
        assert said.code == 0, said
        return said.out

    def refuses(self, *arguments: str, code: int = 1) -> str:
        """Return what a command prints on the error stream that has to fail."""
        said = self(*arguments)
        assert said.code == code, said
        assert "Traceback" not in said.err
        return said.err

    def document(self, *arguments: str) -> Any:
        """Return what a command prints with `--json`."""
        return json.loads(self.does(*arguments, "--json"))


def on_terminal(app: Flask, *arguments: str, columns: int = 100, **environment: str) -> str:
    """Return what `flask squidmesh ...` writes to a terminal of this width, in this process."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    written = bytearray()

    def read() -> None:
        # The end of a terminal is an error on Linux.
        with suppress(OSError):
            while some := os.read(ours, 4096):
                written.extend(some)

    reader = Thread(target=read)
    reader.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(theirs, "w") as terminal:
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            patch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm", **environment}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdout", terminal)
        usual = os.dup(1)
        os.dup2(theirs, 1)
        try:
            info = ScriptInfo(create_app=lambda: app)
            app.cli.main(("squidmesh", *arguments), "flask", obj=info, standalone_mode=False)
        finally:
            terminal.flush()
            os.dup2(usual, 1)
            os.close(usual)
    reader.join()
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def shared_url(databases: Databases) -> Iterator[str]:
    """A database with all tables, for all tests of a module."""
    url = databases.create(host.prepare)
    yield url
    databases.drop(url)


@pytest.fixture
def url(shared_url: str) -> str:
    """A database with all tables and no rows."""
    host.empty(shared_url)
    return shared_url


@pytest.fixture
def open_world() -> Iterator[Callable[..., World]]:
    """Open the context of an application: `open_world(url, SQUIDMESH_...=...)`."""
    with ExitStack() as stack:
        yield lambda url, **config: stack.enter_context(
            host.make_world(url, **{"SQUIDMESH_WORKFLOWS": ["tests.cli.workflows"], **config})
        )


@pytest.fixture
def world(url: str, open_world: Callable[..., World]) -> World:
    """An application with the workflows of this folder, within its context; nothing is sent."""
    return open_world(url)


@pytest.fixture
def shell(world: World) -> Shell:
    return Shell(world.app)

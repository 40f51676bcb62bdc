"""Fresh databases, one behaviour on every kind of server.

A test gets an empty database, or one that a function has prepared. The result
of a preparation is kept and copied: only the first test pays for it.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from flask_squidmesh.ids import new_id

Prepare = Callable[[str], object]
"""Called with the URL of an empty database; leaves no connection open."""


class Databases(ABC):
    """Makes databases; every URL it returns names one that nobody else uses."""

    def __init__(self) -> None:
        self._prepared: dict[Prepare, str] = {}
        self._created: set[str] = set()

    def create(self, prepare: Prepare | None = None) -> str:
        """Create a database, empty or as *prepare* leaves one, and return its URL."""
        if prepare is not None and prepare not in self._prepared:
            template = self._create(None)
            self._created.add(template)
            prepare(template)
            self._prepared[prepare] = template
        url = self._create(None if prepare is None else self._prepared[prepare])
        self._created.add(url)
        return url

    def drop(self, url: str) -> None:
        """Remove a database; connections that are still open lose it."""
        self._drop(url)
        self._created.discard(url)

    def drop_all(self) -> None:
        for url in tuple(self._created):
            self.drop(url)

    @abstractmethod
    def _create(self, template: str | None) -> str: ...

    @abstractmethod
    def _drop(self, url: str) -> None: ...


class SqliteDatabases(Databases):
    """Files in *folder*, in WAL mode."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _create(self, template: str | None) -> str:
        file = self._folder / f"{new_id()}.sqlite3"
        with closing(sqlite3.connect(file)) as new:
            new.execute("PRAGMA journal_mode=WAL")
            if template is not None:
                with closing(sqlite3.connect(self._file(template))) as source:
                    source.backup(new)
        return f"sqlite:///{file}"

    def _drop(self, url: str) -> None:
        file = self._file(url)
        for suffix in ("", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)

    def _file(self, url: str) -> Path:
        return Path(make_url(url).database or "")


class PostgresDatabases(Databases):
    """Databases of the server that *url* connects to, as a user who may create them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._server = make_url(url).set(drivername="postgresql+psycopg")

    def _create(self, template: str | None) -> str:
        name = f"squidmesh_test_{new_id().replace('-', '')}"
        source = "template1" if template is None else _database(template)
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, source)
        return self._server.set(database=name).render_as_string(hide_password=False)

    def _drop(self, url: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", _database(url))

    def _execute(self, statement: LiteralString, *names: str) -> None:
        plain = self._server.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _database(url: str) -> str:
    return make_url(url).database or ""

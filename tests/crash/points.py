"""The places at which a process can be made to die."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

Report = Callable[[str, object], None]
"""Tells the process that outlives this one something: a word, and JSON data."""

_WRITES = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) \"?(?:squidmesh_)?(\w+)")


class Points:
    """Counts the points a process comes by, and kills it at number *kill_at*, if it gets there.

    Points are: before and after each COMMIT, between a commit and its messages,
    and in a step function that has written and not yet returned.
    """

    def __init__(self, *, kill_at: int | None, report: Report) -> None:
        self.passed: list[str] = []
        self._kill_at = kill_at
        self._report = report
        self._commits = 0
        self._written: list[str] = []
        self._alone: str | None = None

    def reach(self, label: str) -> None:
        """Come by a point, and perhaps no further."""
        self.passed.append(label)
        if len(self.passed) == self._kill_at:
            self._report("died", label)
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, engine: sa.Engine) -> None:
        """Make every COMMIT through *engine* two points, and every statement that is its own."""
        commit = engine.dialect.do_commit

        def do_commit(connection: Any) -> None:
            name = self._name()
            self.reach(f"before {name}")
            commit(connection)
            self.reach(f"after {name}")

        # There is an event before a COMMIT, but none after it.
        engine.dialect.do_commit = do_commit  # type: ignore[method-assign, assignment]  # see above
        sa.event.listen(engine, "before_cursor_execute", self._on_execute)
        sa.event.listen(engine, "after_cursor_execute", self._on_executed)
        sa.event.listen(engine, "rollback", self._on_rollback)

    def _name(self) -> str:
        self._commits += 1
        written = "+".join(dict.fromkeys(self._written)) or "nothing"
        self._written.clear()
        return f"commit {self._commits} of {written}"

    def _on_execute(
        self, connection: sa.Connection, _cursor: object, statement: str, *_: object
    ) -> None:
        self._written += [found.group(1) for found in _WRITES.finditer(statement)]
        if self._written and _commits_itself(connection):
            self._alone = self._name()
            self.reach(f"before {self._alone}")

    def _on_executed(self, connection: sa.Connection, *_: object) -> None:
        alone, self._alone = self._alone, None
        if alone is not None:
            self.reach(f"after {alone}")

    def _on_rollback(self, _connection: object) -> None:
        self._written.clear()


def _commits_itself(connection: sa.Connection) -> bool:
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"

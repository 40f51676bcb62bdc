"""The host's session, as far as the engine needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm


class HostSession:
    """The `db.session` of the app context that is current when a method is called."""

    def __init__(self, session: orm.scoped_session[Any], engine: Callable[[], sa.Engine]) -> None:
        self._session = session
        self._engine = engine

    def is_in_use(self) -> bool:
        """Return whether the session has begun a transaction (writes, reads or pending objects)."""
        # Asking must not make a session where the step did not.
        return self._session.registry.has() and self._session().in_transaction()

    @contextmanager
    def watching_writes(self) -> Iterator[Callable[[], bool]]:
        """Give a function that says whether writes were made since, and not committed."""
        session = self._session()
        written = False

        def wrote(*_: Any) -> None:
            nonlocal written
            written = True

        def executed(state: orm.ORMExecuteState) -> None:
            if not state.is_select:
                wrote()

        def committed(*_: Any) -> None:
            nonlocal written
            written = False

        listeners = (
            ("after_flush", wrote),
            ("do_orm_execute", executed),
            ("after_commit", committed),
        )
        for name, listener in listeners:
            sa.event.listen(session, name, listener)
        try:
            yield lambda: written or bool(session.new or session.dirty or session.deleted)
        finally:
            for name, listener in listeners:
                sa.event.remove(session, name, listener)

    def flush(self) -> None:
        """Send pending changes to the database, within the open transaction."""
        if self.is_in_use():
            self._session().flush()

    def connection(self) -> sa.Connection:
        """Return the connection that carries the session's transaction."""
        bind: dict[str, Any] = {"bind": self._engine()}
        connection: sa.Connection = self._session().connection(bind_arguments=bind)
        return connection

    def commit(self) -> None:
        """Commit everything the session and its connection hold."""
        self._session().commit()

    def rollback(self) -> None:
        """Forget everything uncommitted."""
        if self.is_in_use():
            self._session().rollback()

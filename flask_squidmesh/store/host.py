"""The host's session, as far as the engine needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm


class HostSession:
    """The `db.session` of the app context that is current when a method is called."""

    def __init__(self, session: orm.scoped_session[Any], engine: Callable[[], sa.Engine]) -> None:
        self._session = session
        self._engine = engine

    def scope(self) -> object:
        """Return what the current session belongs to, its app context; None outside of any."""
        find = getattr(self._session.registry, "scopefunc", threading.get_ident)
        try:
            return find()
        except RuntimeError:
            return None

    def forget(self, scope: object) -> None:
        """Drop the session that belongs to *scope*, and what is uncommitted in it."""
        known: Any = self._session.registry.registry
        session = known.pop(scope, None) if isinstance(known, dict) else None
        if session is not None:
            session.close()

    def is_in_use(self) -> bool:
        """Return whether the session has begun a transaction (writes, reads or pending objects)."""
        # Asking must not make a session where the step did not.
        try:
            if not self._session.registry.has():
                return False
        except RuntimeError:
            # Outside of any app context.
            return False
        session: orm.Session = self._session()
        return session.in_transaction()

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

    def is_locking_others_out(self) -> bool:
        """Return whether no other connection can write while the session's transaction is open."""
        return self._engine().dialect.name == "sqlite" and self.is_in_use()

    def flush(self) -> None:
        """Send pending changes to the database, within the open transaction."""
        if self.is_in_use():
            self._session().flush()

    def connection(self) -> sa.Connection:
        """Return the connection that carries the session's transaction."""
        bind: dict[str, Any] = {"bind": self._engine()}
        connection: sa.Connection = self._session().connection(bind_arguments=bind)
        return connection

    def has_transaction(self) -> bool:
        """Return whether what the session has done waits for its commit."""
        if not self.is_in_use():
            return False
        try:
            options = self.connection().get_execution_options()
        except sa.exc.SQLAlchemyError:
            # There was one, which can not be committed any more.
            return True
        # A step that made each of its statements a transaction can not have ours among them.
        return options.get("isolation_level") != "AUTOCOMMIT"

    def commit(self) -> None:
        """Commit everything the session and its connection hold."""
        self._session().commit()

    def rollback(self) -> None:
        """Forget everything uncommitted, also when the connection is lost or was closed."""
        if not self.is_in_use():
            return
        session = self._session()
        try:
            session.rollback()
        except Exception:  # noqa: BLE001  # whatever became of the connection, nobody commits it
            with suppress(Exception):
                session.invalidate()
            self._session.registry.clear()

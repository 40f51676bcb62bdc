"""Actions after the commit of the host's transaction.

SQLAlchemy fires `after_commit` also when a savepoint is released, although the
outer transaction may still be rolled back. So an action belongs to the root
transaction it was registered in, and to every savepoint around it: it happens
once the root is committed, and is forgotten when one of them is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import orm

from flask_squidmesh.store import transaction

_KEY: Final = "squidmesh_after_commit"

AnySession = orm.Session | orm.scoped_session[Any]
"""What a host may pass: a session, or the registry that hands out the current one."""


def connection_of(session: AnySession, engine: transaction.Engine) -> transaction.Connection:
    """Return the connection of the session's transaction to *engine*; pending objects go first."""
    session.flush()
    bind: dict[str, Any] = {"bind": engine}
    return session.connection(bind_arguments=bind)


def after_commit_of(session: AnySession, action: Callable[[], None]) -> None:
    """Call *action*, which must not raise, once the session's present transaction is committed."""
    real: orm.Session = session() if isinstance(session, orm.scoped_session) else session
    waiting = real.info.get(_KEY)
    if waiting is None:
        # One set of listeners per session, for its life: a listener can not remove itself.
        waiting = real.info[_KEY] = _Waiting()
        sa.event.listen(real, "after_commit", waiting.on_commit)
        sa.event.listen(real, "after_soft_rollback", waiting.on_rollback)
        sa.event.listen(real, "after_transaction_end", waiting.on_end)
    waiting.add(real, action)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An action, and the transactions around it, from the innermost to the root."""

    action: Callable[[], None]
    around: tuple[orm.SessionTransaction, ...]


class _Waiting:
    """The actions that wait in one session."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._is_committed = False

    def add(self, session: orm.Session, action: Callable[[], None]) -> None:
        around = []
        transaction = session.get_nested_transaction() or session.get_transaction()
        while transaction is not None:
            around.append(transaction)
            transaction = transaction.parent
        self._entries.append(_Entry(action, tuple(around)))

    def on_commit(self, session: orm.Session) -> None:
        if not session.in_nested_transaction():
            self._is_committed = True

    def on_rollback(self, _session: orm.Session, rolled_back: orm.SessionTransaction) -> None:
        self._entries = [entry for entry in self._entries if rolled_back not in entry.around]

    def on_end(self, _session: orm.Session, ended: orm.SessionTransaction) -> None:
        if ended.parent is not None:
            return
        entries, self._entries = self._entries, []
        is_committed, self._is_committed = self._is_committed, False
        if is_committed:
            # Here, not in `on_commit`: the session can be used again, by receivers of signals.
            for entry in entries:
                entry.action()

"""Begins the branches of a fan-out, which may be very many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from flask_squidmesh.lifecycle.states import StepRunStatus
from flask_squidmesh.store.branches import Branch, insert
from flask_squidmesh.store.models import branches
from flask_squidmesh.store.prepared import insertion

_MANY: Final = 50
_OWN: Final = ("slot", "step", "due_at", "rung_at")
"""In what pending branches of one run differ that begin at the same moment."""


def insert_fan(connection: sa.Connection, new: Sequence[Branch]) -> None:
    """Insert branches of one run that begin at the same moment, however many."""
    pending = [branch for branch in new if branch.status == StepRunStatus.PENDING]
    if len(pending) < _MANY or connection.dialect.name != "postgresql":
        insert(connection, new)
        return
    own = {name: [getattr(branch, name) for branch in pending] for name in _OWN}
    shared = asdict(pending[0]) | {"status": StepRunStatus.PENDING.value}
    connection.execute(_INSERT, shared | own)
    if len(pending) < len(new):
        insert(connection, [branch for branch in new if branch.status != StepRunStatus.PENDING])


def _statement() -> sa.Insert:
    """Return the insertion of rows whose own columns are lists: another row costs little."""
    lists = [sa.bindparam(name, type_=postgresql.ARRAY(branches.c[name].type)) for name in _OWN]
    columns = [sa.column(name, branches.c[name].type) for name in _OWN]
    own = sa.func.unnest(*lists).table_valued(*columns, name="own").render_derived()
    values: dict[str, Any] = {name: own.c[name] for name in _OWN}
    for field in fields(Branch):
        if field.name not in _OWN:
            values[field.name] = sa.bindparam(field.name, type_=branches.c[field.name].type)
    return insertion(branches, values)


_INSERT: Final = _statement()

"""Audit events: what people did, numbered within their run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from flask_squidmesh.store.models import audit_events


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event; actor, comment and metadata are encoded JSON.

    Key and digest are of the request that the event answered.
    """

    run_id: str
    number: int
    type: str
    step: str | None
    actor: str | None
    comment: str | None
    metadata: str | None
    at: datetime
    idempotency_key: str | None = None
    request_digest: str | None = None


_NAMES: Final = tuple(f.name for f in fields(AuditRow))
_OF_RUN = (
    sa.select(*(audit_events.c[name] for name in _NAMES))
    .where(audit_events.c.run_id == sa.bindparam("run_id"))
    .order_by(audit_events.c.number)
)
_BY_KEY = sa.select(*(audit_events.c[name] for name in _NAMES)).where(
    audit_events.c.run_id == sa.bindparam("run_id"),
    audit_events.c.idempotency_key == sa.bindparam("key"),
)
_LAST = sa.select(sa.func.max(audit_events.c.number)).where(
    audit_events.c.run_id == sa.bindparam("run_id")
)


def append(
    connection: sa.Connection,
    run_id: str,
    *,
    type: str,
    step: str | None,
    actor: str | None,
    comment: str | None,
    metadata: str | None,
    now: datetime,
    idempotency_key: str | None = None,
    request_digest: str | None = None,
) -> None:
    """Add an event to the run's history; expects the run's lock."""
    number = (connection.execute(_LAST, {"run_id": run_id}).scalar() or 0) + 1
    row = AuditRow(
        run_id, number, type, step, actor, comment, metadata, now, idempotency_key, request_digest
    )
    connection.execute(sa.insert(audit_events), {name: getattr(row, name) for name in _NAMES})


def of_run(connection: sa.Connection, run_id: str) -> list[AuditRow]:
    """Return the run's events in the order they happened."""
    return [AuditRow(*row) for row in connection.execute(_OF_RUN, {"run_id": run_id})]


def find_by_key(connection: sa.Connection, run_id: str, key: str) -> AuditRow | None:
    """Return the run's event that holds an idempotency key; expects the run's lock."""
    row = connection.execute(_BY_KEY, {"run_id": run_id, "key": key}).one_or_none()
    return None if row is None else AuditRow(*row)

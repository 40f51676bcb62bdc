"""Definitions, stored once per fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

import sqlalchemy as sa

from flask_squidmesh.store import dialect
from flask_squidmesh.store.models import definitions

_DOCUMENT = sa.select(definitions.c.document).where(
    definitions.c.fingerprint == sa.bindparam("fingerprint")
)


def put(
    connection: sa.Connection,
    *,
    fingerprint: str,
    workflow: str,
    version: str | None,
    document: str,
    now: datetime,
) -> None:
    """Store a definition unless it is stored already."""
    connection.execute(
        dialect.insert_if_absent(connection, definitions),
        {
            "fingerprint": fingerprint,
            "workflow": workflow,
            "version": version,
            "document": document,
            "created_at": now,
        },
    )


def get(connection: sa.Connection, fingerprint: str) -> str:
    """Return the stored document of *fingerprint*."""
    return cast(str, connection.execute(_DOCUMENT, {"fingerprint": fingerprint}).scalar_one())


def list_of(
    connection: sa.Connection, workflow: str, *, limit: int
) -> Sequence[tuple[str | None, str, datetime]]:
    """Return version, fingerprint and time of the latest definitions of *workflow*."""
    query = (
        sa.select(definitions.c.version, definitions.c.fingerprint, definitions.c.created_at)
        .where(definitions.c.workflow == workflow)
        .order_by(definitions.c.created_at.desc(), definitions.c.fingerprint)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]

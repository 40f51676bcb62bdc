"""Contexts of long runs that are over: put together once, for those who read many runs.

Only a copy of what the outputs say: of a run without one they are read instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from flask_squidmesh.store import dialect
from flask_squidmesh.store.models import contexts


@cache
def _of_runs(name: str) -> sa.Select[Any]:
    return sa.select(contexts.c.run_id, contexts.c.document).where(
        dialect.is_among(name, contexts.c.run_id, "run_ids")
    )


def put(connection: sa.Connection, run_id: str, document: str) -> None:
    """Keep the encoded context of a run that is over; again is harmless."""
    connection.execute(
        dialect.insert_if_absent(connection, contexts), {"run_id": run_id, "document": document}
    )


def of_runs(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the encoded contexts that are kept, by run."""
    query = _of_runs(connection.dialect.name)
    return {row[0]: row[1] for row in connection.execute(query, {"run_ids": list(run_ids)})}

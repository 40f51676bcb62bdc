"""Contexts of long runs that are over: put together once, for those who read many runs.

Only a copy of what the outputs say: of a run without one they are read instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from flask_squidmesh.store import dialect
from flask_squidmesh.store.models import contexts

_OF_RUNS = sa.select(contexts.c.run_id, contexts.c.document).where(
    contexts.c.run_id.in_(sa.bindparam("run_ids", expanding=True))
)


def put(connection: sa.Connection, run_id: str, document: str) -> None:
    """Keep the encoded context of a run that is over; again is harmless."""
    connection.execute(
        dialect.insert_if_absent(connection, contexts), {"run_id": run_id, "document": document}
    )


def of_runs(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the encoded contexts that are kept, by run."""
    return {row[0]: row[1] for row in connection.execute(_OF_RUNS, {"run_ids": list(run_ids)})}

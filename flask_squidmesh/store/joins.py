"""Joins: how many dependencies a step, or the run's completion, still misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from flask_squidmesh.store.models import joins

_INSERT = sa.insert(joins)
_HERE = sa.and_(
    joins.c.run_id == sa.bindparam("in_run_id"), joins.c.step == sa.bindparam("at_step")
)
_COUNT_DOWN = sa.update(joins).where(_HERE).values(missing=joins.c.missing - 1)
_MISSING = sa.select(joins.c.step, joins.c.missing).where(
    joins.c.run_id == sa.bindparam("run_id"),
    joins.c.step.in_(sa.bindparam("steps", expanding=True)),
)


def insert(connection: sa.Connection, run_id: str, missing: Mapping[str, int]) -> None:
    """Insert the counters of a run that begins."""
    connection.execute(
        _INSERT, [{"run_id": run_id, "step": s, "missing": n} for s, n in missing.items()]
    )


def count_down(connection: sa.Connection, run_id: str, step: str) -> bool:
    """Note that one dependency of *step* is there."""
    return connection.execute(_COUNT_DOWN, {"in_run_id": run_id, "at_step": step}).rowcount == 1


def missing(connection: sa.Connection, run_id: str, steps: Sequence[str]) -> dict[str, int]:
    """Return how many dependencies each of *steps* still misses."""
    rows = connection.execute(_MISSING, {"run_id": run_id, "steps": list(steps)})
    return {row.step: row.missing for row in rows}

"""Waiting for what workers do, without giving them work by asking."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from benchmarks.host import Host
from flask_squidmesh.clock import wait_until

PATIENCE: Final = 1800.0
COUNT: Final = sa.text("SELECT count(*) FROM squidmesh_run_states WHERE status = :status")


def wait_for_runs(host: Host, status: str, count: int, *, interval: float = 0.01) -> None:
    """Wait until *count* runs have that status.

    `list_runs` would do as well, but puts together the context of each run.
    """
    with host.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:

        def is_so() -> bool:
            return bool(connection.scalar(COUNT, {"status": status}) >= count)

        if not wait_until(is_so, timeout=PATIENCE, interval=interval):
            raise RuntimeError(f"there are not {count} {status} runs after {PATIENCE:g} seconds")

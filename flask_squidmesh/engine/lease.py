"""Leases: how a worker shows that it is alive, attempt by attempt.

Only attempts executing in this process right now are renewed, never "all rows
of this worker": a live worker can lose a single attempt, and then nobody but
the ticker may help that row. Short steps are never renewed, the lease of their
claim is enough.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from flask_squidmesh.engine.memory import Held
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.store import branches, dialect, transaction

logger = logging.getLogger(__name__)


def renew(runtime: Runtime, held: Held) -> bool:
    """Extend the lease behind *held*; False means that its token is no longer current."""
    if held.is_lost:
        return False

    def work(connection: transaction.Connection) -> bool:
        now = runtime.clock.judge(dialect.time(connection))
        until = now + timedelta(seconds=runtime.settings.lease_ttl)
        if not branches.renew(connection, held.branch, until=until, now=now):
            return False
        held.lease_until = until
        return True

    started = runtime.clock.monotonic()
    if transaction.run(runtime.database, work):
        held.renewed = started
        return True
    held.is_lost = True
    logger.warning(
        "the lease on step %s of run %s is gone; what this attempt does is not kept",
        held.branch.step,
        held.run.id,
    )
    return False


def renew_executing(runtime: Runtime) -> int:
    """Renew what executes in this process and used up a third of its lease; return how many."""
    third = runtime.settings.lease_ttl / 3
    renewed = 0
    for held in runtime.executing.all():
        is_due = runtime.clock.monotonic() - held.renewed >= third
        if is_due and not held.is_lost:
            renewed += renew(runtime, held)
    return renewed

"""Renews the leases of what executes in this process, and of nothing else.

The engine knows what that is and asks the database only when a lease is a
third used up, so a heartbeat of a process with short steps, or none, is free.
"""

from __future__ import annotations

import logging
from typing import Final

from flask import Flask

from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.contexts import working_for
from flask_squidmesh.dispatch.trouble import Trouble, described

logger = logging.getLogger(__name__)

# A third of the lease may pass before a renewal is wanted; two more tries fit
# into the next third, so that a short trouble with the database loses nothing.
_PER_LEASE: Final = 6
_SHORTEST: Final = 0.05


class Heartbeat:
    """One application's heartbeat in this process; `turn` is called by its thread."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._trouble = Trouble(logger)
        self._interval = max(_SHORTEST, state_of(app).settings.lease_ttl / _PER_LEASE)

    def turn(self) -> float:
        """Renew what needs it; return the seconds until the next turn."""
        try:
            with working_for(self._app):
                state_of(self._app).engine().renew()
        except Exception as error:  # noqa: BLE001  # a database has many ways to be away
            self._trouble.arose("leases could not be renewed, trying on: %s", described(error))
        else:
            self._trouble.passed("leases are renewed again")
        return self._interval

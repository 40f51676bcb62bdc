"""Between rows and messages: the only part that knows Celery.

Outwards, `doorbell` sends what the engine wants rung, through `transport` (its
thread and its circuit breaker) and `line` (one connection). Inwards, `tasks`
hands messages to `delivery`, which asks the engine. `ticker`, `reminders` and
`heartbeat` are the helper threads of processes that execute steps, started by
`worker` in Celery workers and by `embedded` in development.

Messages may be late, doubled, lost or forged without harm: who claims the row
does the work, and `due_at` finds what nobody looked at.
"""

from __future__ import annotations

from flask import Flask

from flask_squidmesh.dispatch import contexts, forks, tasks, worker
from flask_squidmesh.dispatch.doorbell import EXTENSION_KEY, Doorbell, doorbell_of

__all__ = ["Doorbell", "doorbell_of", "install", "tasks", "worker"]


def install(app: Flask) -> Doorbell:
    """Make *app* send and receive; return its doorbell. Called once, by the extension."""
    doorbell = Doorbell(app)
    app.extensions[EXTENSION_KEY] = doorbell
    contexts.adopt(app)
    forks.watch(app, doorbell)
    return doorbell

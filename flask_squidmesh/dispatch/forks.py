"""After every fork, the child leaves its parent's connections alone.

A connection that two processes use hands the answers of one to the other, so
this is done for the host, too: its SQLAlchemy engines, whether it forks as a
prefork pool, as `gunicorn --preload`, or on its own.
"""

from __future__ import annotations

import os
import weakref

from flask import Flask

from flask_squidmesh.dispatch.doorbell import Doorbell

_watched: weakref.WeakKeyDictionary[Flask, weakref.ref[Doorbell]] = weakref.WeakKeyDictionary()


def watch(app: Flask, doorbell: Doorbell) -> None:
    """Have the children of this process drop what they inherit of *app*'s connections."""
    _watched[app] = weakref.ref(doorbell)


def dispose_engines(app: Flask) -> None:
    """Replace the pools of *app*'s engines without closing the connections in them.

    The parent goes on using those. An in-memory SQLite database is kept: it
    lives in its connection, and the child has a copy of its own.
    """
    host = app.extensions.get("sqlalchemy")
    # Flask-SQLAlchemy offers the engines only inside an app context, and would make missing ones.
    engines = getattr(host, "_app_engines", {}).get(app, {})
    for engine in engines.values():
        if engine.dialect.name == "sqlite" and _in_memory(engine.url.database):
            continue
        engine.dispose(close=False)


def _in_memory(database: str | None) -> bool:
    return not database or ":memory:" in database or "mode=memory" in database


def _start_over() -> None:
    for app, reference in list(_watched.items()):
        dispose_engines(app)
        doorbell = reference()
        if doorbell is not None:
            doorbell.start_over()


# There is no way to take this back, so it is done once and looks at what is watched.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)

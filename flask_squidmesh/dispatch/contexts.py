"""Which Flask application a Celery application works for, and working in its context."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, current_app, has_app_context

from flask_squidmesh.current import state_of
from flask_squidmesh.exceptions import ConfigError

# Both are about the process, where Celery delivers a message for one of perhaps
# several applications; they keep none alive.
_adopted: list[weakref.ref[Flask]] = []
_bound: weakref.WeakKeyDictionary[Any, weakref.ref[Flask]] = weakref.WeakKeyDictionary()


def adopt(app: Flask) -> None:
    """Consider *app* when looking for the application behind a Celery app."""
    _adopted[:] = [known for known in _adopted if known() is not None]
    _adopted.append(weakref.ref(app))


def bind(celery: Any, app: Flask) -> None:
    """Say that *celery* works for *app*, whatever else is known."""
    _bound[celery] = weakref.ref(app)


def find_app(celery: Any) -> Flask | None:
    """Return the Flask application whose work arrives through *celery*.

    That is the one it was bound to; else the active one, else the newest one,
    of those that use it.
    """
    bound = _bound.get(celery)
    if bound is not None:
        return bound()
    candidates = [app for known in reversed(_adopted) if (app := known()) is not None]
    if has_app_context():
        candidates.sort(key=lambda app: app is not _active())
    return next((app for app in candidates if _uses(app, celery)), None)


@contextmanager
def working_for(app: Flask) -> Iterator[None]:
    """Have *app*'s context active within the block: the one that is, else one of its own."""
    if has_app_context() and _active() is app:
        yield
    else:
        with app.app_context():
            yield


def _active() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # Flask's documented way
    return app


def _uses(app: Flask, celery: Any) -> bool:
    try:
        return state_of(app).celery() is celery
    except ConfigError:
        return False

"""The state of the current application: the one place that reads `current_app`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from celery import Celery
from flask import Flask, current_app, has_app_context

from flask_squidmesh.clock import Clock
from flask_squidmesh.config import Settings
from flask_squidmesh.definition.registry import Registry
from flask_squidmesh.engine.engine import Engine
from flask_squidmesh.engine.news import News
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.store.host import HostSession

EXTENSION: Final = "squidmesh"
"""The key in `app.extensions`."""


class AppState:
    """Everything one application has of this extension; in `app.extensions["squidmesh"]`.

    What other extensions provide is looked up when first needed, so the order
    of their `init_app` calls does not matter.
    """

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        *,
        registry: Registry,
        db: Any = None,
        celery: Celery | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.clock = clock or Clock()
        self.announce: Callable[[News], None] = _tell_nobody
        self._app = weakref.ref(app)
        self._db = db
        self._celery = celery
        self._engine: Engine | None = None

    @property
    def app(self) -> Flask:
        """The application."""
        app = self._app()
        if app is None:
            raise RuntimeError("the application of this state is gone")
        return app

    def find_db(self) -> Any:
        """Return the host's Flask-SQLAlchemy object, None when there is none yet."""
        return self._db if self._db is not None else self.app.extensions.get("sqlalchemy")

    def find_celery(self) -> Celery | None:
        """Return the host's Celery app, None when there is none yet."""
        if self._celery is not None:
            return self._celery
        found = self.app.extensions.get("celery")
        return found if isinstance(found, Celery) else None

    def missing(self) -> dict[str, str]:
        """Return what nobody provided, with what to do about it."""
        missing: dict[str, str] = {}
        if self.find_db() is None:
            missing["db"] = (
                "create db = SQLAlchemy() and call db.init_app(app), or pass "
                "squidmesh.init_app(app, db=db)"
            )
        elif "sqlalchemy" not in self.app.extensions:
            missing["db"] = "the db given to squidmesh was not initialised: call db.init_app(app)"
        if self.settings.dispatch == "celery" and self.find_celery() is None:
            missing["celery"] = (
                'set app.extensions["celery"] to a Celery app (see "Background Tasks with Celery" '
                "in Flask's documentation), pass squidmesh.init_app(app, celery=...), or set "
                'SQUIDMESH_DISPATCH="manual" where nothing is to be sent'
            )
        return missing

    def celery(self) -> Celery:
        """Return the host's Celery app.

        Raises:
            ConfigError: There is none.
        """
        found = self.find_celery()
        if found is None:
            reason = self.missing().get("celery", "this application has no Celery app")
            raise ConfigError(["celery"], reasons={"celery": reason})
        return found

    def engine(self) -> Engine:
        """Return the engine, put together at first use; needs the app context.

        Raises:
            ConfigError: There is no database to work with.
        """
        if self._engine is None:
            missing = {key: why for key, why in self.missing().items() if key == "db"}
            if missing:
                raise ConfigError(list(missing), reasons=missing)
            db = self.find_db()
            self._engine = Engine(
                Runtime(
                    database=db.engine,
                    settings=self.settings,
                    clock=self.clock,
                    registry=self.registry,
                    host=HostSession(db.session, lambda: db.engine),
                    step_context=self._step_context,
                )
            )
        return self._engine

    def use_clock(self, clock: Clock) -> None:
        """Let everything of this application follow *clock* from now on."""
        self.clock = clock
        if self._engine is not None:
            self._engine.use_clock(clock)

    def _step_context(self) -> AbstractContextManager[object]:
        return self.app.app_context()


def _tell_nobody(news: News) -> None:
    """Before the extension is complete there is nobody to tell; the ticker finds the rows."""


def state_of(app: Flask) -> AppState:
    """Return the state of *app*.

    Raises:
        ConfigError: The extension was not initialised for it.
    """
    state = app.extensions.get(EXTENSION)
    if not isinstance(state, AppState):
        raise ConfigError(
            summary=f"flask_squidmesh is not initialised for the application {app.name!r}; "
            "call squidmesh.init_app(app) in its factory"
        )
    return state


def state() -> AppState:
    """Return the state of the current application.

    Raises:
        RuntimeError: There is no current application.
        ConfigError: The extension was not initialised for it.
    """
    if not has_app_context():
        raise RuntimeError(
            "flask_squidmesh was called outside of an application context; call it in a view, a "
            "command or a step, or use: with app.app_context(): ..."
        )
    return state_of(current_app)

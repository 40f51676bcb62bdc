"""The state of the current application: the one place that reads `current_app`."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
from flask_squidmesh.types import Run

logger = logging.getLogger(__name__)

EXTENSION: Final = "squidmesh"
"""The key in `app.extensions`."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker as `check` finds it.

    `address` has no password. `trouble` is why it does not answer, None if it
    does. `depth` is how many messages wait in squidmesh's queue, `listeners`
    are the workers that answered with the queues they consume; None: unknown.
    `configuration` holds the settings of Celery that matter here.
    """

    address: str
    trouble: str | None
    depth: int | None
    listeners: Mapping[str, tuple[str, ...]] | None
    configuration: Mapping[str, Any]

    def consumers_of(self, queue: str) -> list[str]:
        """Return the names of the workers that are known to consume *queue*."""
        listeners = self.listeners or {}
        return [worker for worker, queues in listeners.items() if queue in queues]


Actor = str | Mapping[str, Any]
"""Who does something: non-empty text, or a non-empty mapping of JSON data."""

AskAuthority = Callable[[str, Run | None], Actor | None]
"""Given an action and the run it is about, if any: who acts, or None to refuse."""


class Authority:
    """Who may do what, as the host's callback says; while there is none, nobody may do anything.

    One for all applications of a `SquidMesh` object: the callback can be
    registered before and after `init_app`.
    """

    def __init__(self) -> None:
        self.ask: AskAuthority | None = None


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
        authority: Authority | None = None,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.clock = clock or Clock()
        self.authority = authority or Authority()
        self.announce: Callable[[News], None] = _tell_nobody
        self.look_at_broker: Callable[[], Broker] = _know_no_broker
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
        elif has_app_context() and None not in getattr(self.find_db(), "engines", {None}):
            missing["db"] = (
                "the tables live in the default database, and this application has only others; "
                "set SQLALCHEMY_DATABASE_URI"
            )
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

    @contextmanager
    def _step_context(self) -> Iterator[None]:
        context = self.app.app_context()
        context.push()
        try:
            yield
        finally:
            try:
                context.pop()
            except Exception as error:  # noqa: BLE001  # what was pushed or torn down here is the host's
                # The step is settled by now: this must not keep the worker from the next one.
                logger.error(  # noqa: TRY400  # the text may hold a payload
                    "the app context of a step could not be left in good order: %s in a "
                    "teardown function, or the step pushed and popped contexts unevenly",
                    type(error).__name__,
                )


def _tell_nobody(news: News) -> None:
    """Before the extension is complete there is nobody to tell; the ticker finds the rows."""


def _know_no_broker() -> Broker:
    return Broker("", "the extension is not complete", None, None, {})


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

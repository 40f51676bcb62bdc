"""The composition root: what a host application imports and calls.

Puts settings, engine, dispatch and command line together for each application.
No rules and no SQL here, and nothing per application on the object itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from celery import Celery
from flask import Flask, appcontext_pushed

import flask_squidmesh.operations as ops
from flask_squidmesh.cli import squidmesh_cli
from flask_squidmesh.cli.refusal import told_to_operators
from flask_squidmesh.config import Settings
from flask_squidmesh.current import EXTENSION, Actor, AppState, AskAuthority, Authority
from flask_squidmesh.definition.registry import Registry
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.dispatch import commands, install
from flask_squidmesh.dispatch.survey import look_at_broker
from flask_squidmesh.engine import step_log
from flask_squidmesh.engine.news import News
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.http import create_blueprint
from flask_squidmesh.operations import AnySession
from flask_squidmesh.signals import send
from flask_squidmesh.store import models
from flask_squidmesh.types import Explanation, Run, RunGraph, RunPage
from flask_squidmesh.ui import create_dashboard

W = TypeVar("W", bound=type[Workflow])
A = TypeVar("A", bound=AskAuthority)
for _command in commands.ALL:
    squidmesh_cli.add_command(_command)


class SquidMesh:
    """Durable workflows for Flask applications.

    Args:
        app: Initialise this application at once, as `init_app` does.
        db: The Flask-SQLAlchemy object. Default: the one initialised for the application.
        celery: The Celery app. Default: `app.extensions["celery"]`.
        workflows: Workflow classes to register, besides those of `SQUIDMESH_WORKFLOWS`.

    One object may serve several applications; what belongs to one is in
    `app.extensions["squidmesh"]`. All methods but `init_app`, `register` and
    `authorize` work on the current application: outside of its context they
    raise a `RuntimeError` that says so. A call that is refused has changed
    nothing.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        db: Any = None,
        celery: Celery | None = None,
        workflows: Iterable[type[Workflow]] = (),
    ) -> None:
        self._db = db
        self._celery = celery
        self._authority = Authority()
        # What is registered on the object itself, for every application it serves.
        self._shared = Registry()
        for workflow in workflows:
            self._shared.register(workflow)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, *, db: Any = None, celery: Celery | None = None) -> None:
        """Set the extension up for *app*; may be called for several applications.

        Checks all `SQUIDMESH_*` keys of `app.config`, imports the workflows they
        name, and adds the tables to the metadata of the application's database
        object, the commands to its command line and, where they are switched on,
        its routes. Database and Celery app are looked up when they are first
        needed, so that the order of the `init_app` calls does not matter.

        Args:
            app: The application.
            db: Its Flask-SQLAlchemy object, in place of the one given to the constructor.
            celery: Its Celery app, likewise.

        Raises:
            ConfigError: A setting is not valid, or the application has the extension already.
            WorkflowDefinitionError: A workflow of `SQUIDMESH_WORKFLOWS` is wrong.
        """
        if EXTENSION in app.extensions:
            raise ConfigError(
                summary=f"flask_squidmesh is initialised for the application {app.name!r} already; "
                "call init_app once per application, or pass the app to SquidMesh(), not both"
            )
        with told_to_operators():
            settings = Settings.from_mapping(app.config)
        state = AppState(
            app,
            settings,
            registry=Registry(self._shared),
            db=db if db is not None else self._db,
            celery=celery if celery is not None else self._celery,
            authority=self._authority,
        )
        app.extensions[EXTENSION] = state
        try:
            with told_to_operators():
                state.registry.load(settings.workflows)
        except BaseException:
            # Half an extension would answer later calls with misleading errors.
            del app.extensions[EXTENSION]
            raise
        _attach_tables(app, state)
        step_log.install()
        doorbell = install(app)

        def announce(news: News) -> None:
            dispatched = doorbell.ring(news.rings)
            send(
                app,
                (
                    (notice.name, notice.values)
                    for notice in news.notices
                    if notice.name != "run_dispatched" or notice.values["run_id"] in dispatched
                ),
            )

        state.announce = announce
        state.look_at_broker = lambda: look_at_broker(app)
        app.cli.add_command(squidmesh_cli)
        if settings.blueprint:
            app.register_blueprint(create_blueprint(), url_prefix=settings.url_prefix)
        if settings.dashboard:
            prefix = f"{settings.url_prefix}/dashboard"
            app.register_blueprint(create_dashboard(), url_prefix=prefix)

    def register(self, workflow: W) -> W:
        """Make a workflow class known to every application of this object; also a decorator.

        Registering the same class again does nothing. `SQUIDMESH_WORKFLOWS` is
        the way to make workflows known to one application only.

        Returns:
            The class, as it was given.

        Raises:
            WorkflowDefinitionError: Another class has the same name.
        """
        self._shared.register(workflow)
        return workflow

    def authorize(self, callback: A) -> A:
        """Let *callback* decide who may do what over HTTP and in the dashboard; a decorator.

        It is called as `callback(action, run)`, within the request, and returns
        who acts (a non-empty string or mapping, which is recorded with what is
        done), or None to refuse. *action* is a word such as `"runs:approve"`,
        *run* the run it is about, None when there is none. Without a callback
        everything is refused. It holds for every application of this object; a
        second one takes the place of the first.

        Returns:
            The callback, as it was given.
        """
        self._authority.ask = callback
        return callback

    def config(self) -> Settings:
        """Return the validated settings of the current application.

        Raises:
            ConfigError: Something the extension needs was not provided: `missing`
                names it, `"db"` or `"celery"`.
        """
        return ops.config()

    def start_run(
        self,
        workflow: type[Workflow] | str,
        payload: Mapping[str, Any] | None = None,
        *,
        trigger: str | None = None,
        session: AnySession | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run and return it, pending.

        Commits on its own, or with *session* joins that session's transaction:
        the run exists, and starts, exactly when the caller commits. A broker
        that is away neither fails nor delays this by more than two seconds: the
        run is in the database and starts when it is back.

        Example::

            db.session.add(order)
            squidmesh.start_run("ship", {"order": order.number}, session=db.session)
            db.session.commit()

        Args:
            workflow: The class, or its registered name.
            payload: JSON data as the trigger's fields ask for; its defaults are filled in.
            trigger: The name of one of the workflow's triggers; by default the first.
            session: A session whose transaction the run is to join, such as `db.session`.
            idempotency_key: 1 to 255 characters. The same key (per workflow) starts one
                run, however often and by however many callers it is given; later
                calls return that run as it is then.

        Raises:
            ConfigError: Something the extension needs was not provided.
            UnknownWorkflow: The workflow is not registered.
            UnknownTrigger: The workflow has no such trigger.
            PayloadError: The payload breaks the trigger's contract.
            DocumentTooLarge: The payload is larger than SQUIDMESH_MAX_DOCUMENT_BYTES.
            IdempotencyConflict: The key belongs to a run with another payload or trigger.
            ValueError: The key is empty or too long.
        """
        return ops.start_run(
            workflow, payload, trigger=trigger, session=session, idempotency_key=idempotency_key
        )

    def inspect_run(self, run_id: str, *, include_history: bool = False) -> Run:
        """Return a run; its `steps`, `step_runs` and `audit_events` with *include_history* only.

        Works for every run in the database, also when its workflow is not
        registered any more.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
        """
        return ops.inspect_run(run_id, include_history=include_history)

    def list_runs(
        self,
        *,
        workflow: type[Workflow] | str | None = None,
        status: str | None = None,
        trigger: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> RunPage:
        """Return a page of runs, newest first, without their history.

        Args:
            workflow: Only runs of this class, or of this name, registered or not.
            status: Only runs with this status, such as `"paused"`.
            trigger: Only runs started by the trigger of this name.
            limit: How many, from 1 to 500.
            after: Go on behind an earlier page: its `next`.

        Raises:
            ValueError: The limit is not in 1..500, or status or cursor are none.
        """
        return ops.list_runs(
            workflow=workflow, status=status, trigger=trigger, limit=limit, after=after
        )

    def unblock_run(
        self,
        run_id: str,
        *,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Run:
        """Let a run go on that stands at a pause.

        Takes and returns what `approve_run` does, but needs no *actor*.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
            InvalidDecision: Actor, comment or metadata is not acceptable.
            InvalidTransition: The run is not paused.
            WrongStepKind: It stands at an approval.
        """
        return ops.unblock_run(run_id, actor=actor, comment=comment, metadata=metadata)

    def approve_run(
        self,
        run_id: str,
        *,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Run:
        """Approve a run that stands at an approval; it takes the `ok` route.

        Of several people who decide at once one wins, and the others get
        `InvalidTransition`. Needs what is stored only, not the workflow's code.

        Args:
            run_id: The run's id.
            actor: Who decides: a non-empty string or mapping; required.
            comment: Why; a non-empty string.
            metadata: Facts to keep with the decision; a mapping of JSON data.

        Returns:
            The run as it is after the decision.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
            InvalidDecision: The actor is missing, or a field is not acceptable.
            InvalidTransition: The run is not paused; somebody may have decided before.
            WrongStepKind: It stands at a pause.
        """
        return ops.approve_run(run_id, actor=actor, comment=comment, metadata=metadata)

    def reject_run(
        self,
        run_id: str,
        *,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Run:
        """Reject a run that stands at an approval; it takes the `error` route.

        That is an answer and no failure of the run. Arguments, answer and errors
        are those of `approve_run`.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
            InvalidDecision: The actor is missing, or a field is not acceptable.
            InvalidTransition: The run is not paused; somebody may have decided before.
            WrongStepKind: It stands at a pause.
        """
        return ops.reject_run(run_id, actor=actor, comment=comment, metadata=metadata)

    def cancel_run(
        self, run_id: str, *, actor: Actor | None = None, comment: str | None = None
    ) -> Run:
        """Cancel a run: at once, or when the step function that is executing ends.

        In the second case the run is `cancelling` until then. Functions are never
        interrupted, but may ask `StepContext.cancelled`.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
            InvalidDecision: Actor or comment is not acceptable.
            InvalidTransition: The run is over, or being cancelled already.
        """
        return ops.cancel_run(run_id, actor=actor, comment=comment)

    def replay_run(self, run_id: str, *, actor: Actor | None = None) -> Run:
        """Start a new run of the current definition from a run's payload, trigger and schedule.

        The stored payload is not validated again; the source is untouched, and
        `replayed_from_run_id` of the new run links back to it. Any run can be
        replayed, whatever its status.

        Returns:
            The new run, pending.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
            InvalidDecision: The actor is not acceptable.
            DefinitionUnavailable: The workflow is not registered.
        """
        return ops.replay_run(run_id, actor=actor)

    def explain_run(self, run_id: str) -> Explanation:
        """Return why a run is where it is, and what can be done; reads only.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
        """
        return ops.explain_run(run_id)

    def inspect_run_graph(self, run_id: str) -> RunGraph:
        """Return the graph a run follows, with the state of its steps and edges; reads only.

        `to_mermaid()` of the graph draws it.

        Raises:
            InvalidRunId, RunNotFound: The id is none, or no run has it.
        """
        return ops.inspect_run_graph(run_id)


def _attach_tables(app: Flask, state: AppState) -> None:
    """Add the tables to the host's metadata: now, or once the host has initialised its db."""
    db = state.find_db()
    if db is not None:
        models.attach(db.metadata)
        return

    def attach(_app: Flask, **_: object) -> None:
        late = state.find_db()
        if late is not None:
            models.attach(late.metadata)
            appcontext_pushed.disconnect(attach, app)

    appcontext_pushed.connect(attach, app, weak=False)

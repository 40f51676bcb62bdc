"""What can be asked of the current application's runs: one function per operation.

The methods of `SquidMesh`, the HTTP routes and the commands are these functions.
Each finds the engine of the current application, lets it work, and announces
the news of what was committed. They need an application context; what they
return and raise is documented at the methods of the same name.

An *idempotency_key* makes a decision, a cancellation or a replay repeatable:
who asks again for the very same gets the run instead of a refusal, and nothing
happens twice. Such keys are the run's; those of `start_run` are the workflow's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask_squidmesh.config import Settings
from flask_squidmesh.current import Actor, AppState, state
from flask_squidmesh.definition import documents
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.engine.control import Verb, is_actor
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.store import on_commit
from flask_squidmesh.types import Explanation, Run, RunGraph, RunPage

AnySession = on_commit.AnySession

ACTIONS: Final = (
    "runs:list",
    "runs:read",
    "runs:payload",
    "runs:start",
    "runs:approve",
    "runs:reject",
    "runs:unblock",
    "runs:cancel",
    "runs:replay",
    "workflows:list",
    "api:describe",
)
"""What the authorize callback is asked about."""


def is_authority_there() -> bool:
    """Return whether the host has registered an authorize callback."""
    return state().authority.ask is not None


def find_actor(action: str, run: Run | None = None) -> Actor | None:
    """Return who carries out *action*, as the host's callback says; None: it is refused.

    Without a callback everything is refused. *run* is the run it is about, None
    when there is none.

    Raises:
        TypeError: The callback returned something that is no actor.
    """
    ask = state().authority.ask
    actor = None if ask is None else ask(action, run)
    if actor is None:
        return None
    try:
        # What can not be recorded is found out before anything is done in its name.
        documents.encode(actor, what="actor")
    except documents.DocumentError as error:
        raise TypeError(_not_an_actor(action, str(error))) from error
    if not is_actor(actor):
        raise TypeError(_not_an_actor(action, f"it returned {type(actor).__name__}"))
    return actor


def _not_an_actor(action: str, problem: str) -> str:
    return (
        f"the authorize callback was asked about {action!r} and returned no actor ({problem}); "
        "return a non-empty string or a non-empty mapping of JSON data to allow it, None to refuse"
    )


def config() -> Settings:
    """Return the validated settings; refuses when something needed was not provided."""
    return _ready_state().settings


def list_workflows() -> tuple[type[Workflow], ...]:
    """Return the registered workflows, by name."""
    registry = state().registry
    return tuple(registry.get(name) for name in registry.names())


def start_run(
    workflow: type[Workflow] | str,
    payload: Mapping[str, Any] | None = None,
    *,
    trigger: str | None = None,
    session: AnySession | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """Start a run; with *session*, in that session's transaction."""
    ready = _ready_state()
    engine = ready.engine()
    connection = None
    if session is not None:
        connection = on_commit.connection_of(session, ready.find_db().engine)
    run, news = engine.start_run(
        workflow,
        payload,
        trigger=trigger,
        idempotency_key=idempotency_key,
        connection=connection,
    )
    if session is None:
        ready.announce(news)
        return run

    def committed() -> None:
        engine.remember_start(workflow)
        ready.announce(news)

    on_commit.after_commit_of(session, committed)
    return run


def inspect_run(run_id: str, *, include_history: bool = False) -> Run:
    """Return a run."""
    return state().engine().inspect_run(run_id, include_history=include_history)


def list_runs(
    *,
    workflow: type[Workflow] | str | None = None,
    status: str | None = None,
    trigger: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> RunPage:
    """Return a page of runs, newest first."""
    name = workflow if workflow is None or isinstance(workflow, str) else workflow.name
    engine = state().engine()
    return engine.list_runs(workflow=name, status=status, trigger=trigger, limit=limit, after=after)


def unblock_run(
    run_id: str,
    *,
    actor: Actor | None = None,
    comment: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """Let a run go on that stands at a pause."""
    return _resolve(
        run_id,
        "unblock",
        actor=actor,
        comment=comment,
        metadata=metadata,
        idempotency_key=idempotency_key,
    )


def approve_run(
    run_id: str,
    *,
    actor: Actor | None = None,
    comment: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """Approve a run that stands at an approval."""
    return _resolve(
        run_id,
        "approve",
        actor=actor,
        comment=comment,
        metadata=metadata,
        idempotency_key=idempotency_key,
    )


def reject_run(
    run_id: str,
    *,
    actor: Actor | None = None,
    comment: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """Reject a run that stands at an approval."""
    return _resolve(
        run_id,
        "reject",
        actor=actor,
        comment=comment,
        metadata=metadata,
        idempotency_key=idempotency_key,
    )


def cancel_run(
    run_id: str,
    *,
    actor: Actor | None = None,
    comment: str | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """Cancel a run."""
    current = state()
    run, news = current.engine().cancel_run(
        run_id, actor=actor, comment=comment, idempotency_key=idempotency_key
    )
    current.announce(news)
    return run


def replay_run(
    run_id: str, *, actor: Actor | None = None, idempotency_key: str | None = None
) -> Run:
    """Start a new run from what another was asked for."""
    ready = _ready_state()
    run, news = ready.engine().replay_run(run_id, actor=actor, idempotency_key=idempotency_key)
    ready.announce(news)
    return run


def explain_run(run_id: str) -> Explanation:
    """Return why a run is where it is."""
    return state().engine().explain_run(run_id)


def inspect_run_graph(run_id: str) -> RunGraph:
    """Return the graph a run follows."""
    return state().engine().graph_of_run(run_id)


def _resolve(run_id: str, verb: Verb, **said: Any) -> Run:
    current = state()
    run, news = current.engine().resolve(run_id, verb, **said)
    current.announce(news)
    return run


def _ready_state() -> AppState:
    """Return the current state when nothing it needs to start runs is missing."""
    current = state()
    missing = current.missing()
    if missing:
        raise ConfigError(list(missing), reasons=missing)
    return current

"""What can be asked of the current application's runs: one function per operation.

The methods of `SquidMesh`, the HTTP routes and the commands are these functions.
Each finds the engine of the current application, lets it work, and announces
the news of what was committed. They need an application context; what they
return and raise is documented at the methods of the same name.

With *at* (step and visit) a decision holds for that question only: the run may
have come to the next one while somebody was still reading.

An *idempotency_key* makes a decision, a cancellation or a replay repeatable:
who asks again for the very same gets the run instead of a refusal, and nothing
happens twice. Such keys are the run's; those of `start_run` are the workflow's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypedDict, Unpack

from flask_squidmesh.config import Settings
from flask_squidmesh.current import Actor, AppState, state
from flask_squidmesh.definition import documents
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.engine import overview
from flask_squidmesh.engine.control import Verb, is_actor
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.store import on_commit
from flask_squidmesh.types import Explanation, Run, RunGraph, RunPage, WorkflowGraph

AnySession = on_commit.AnySession
Overview = overview.Overview
Study = overview.Study
Version = overview.Version
WaitingPage = overview.WaitingPage
WaitingRun = overview.WaitingRun

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


class Answer(TypedDict, total=False):
    """What may be said with an answer; `at` is the step and visit that it is an answer to."""

    actor: Actor | None
    comment: str | None
    metadata: Mapping[str, Any] | None
    idempotency_key: str | None
    at: tuple[str, int] | None


def unblock_run(run_id: str, **said: Unpack[Answer]) -> Run:
    """Let a run go on that stands at a pause."""
    return _resolve(run_id, "unblock", **said)


def approve_run(run_id: str, **said: Unpack[Answer]) -> Run:
    """Approve a run that stands at an approval."""
    return _resolve(run_id, "approve", **said)


def reject_run(run_id: str, **said: Unpack[Answer]) -> Run:
    """Reject a run that stands at an approval."""
    return _resolve(run_id, "reject", **said)


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
    run_id: str,
    *,
    actor: Actor | None = None,
    comment: str | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """Start a new run from what another was asked for."""
    ready = _ready_state()
    run, news = ready.engine().replay_run(
        run_id, actor=actor, comment=comment, idempotency_key=idempotency_key
    )
    ready.announce(news)
    return run


def explain_run(run_id: str) -> Explanation:
    """Return why a run is where it is."""
    return state().engine().explain_run(run_id)


def inspect_run_graph(run_id: str) -> RunGraph:
    """Return the graph a run follows."""
    return state().engine().graph_of_run(run_id)


def study_run(run_id: str) -> Study:
    """Return run, history, definition, explanation and graph, from one look at the run."""
    return state().engine().study_run(run_id)


def graph_of_workflow(workflow: type[Workflow] | str) -> WorkflowGraph:
    """Return the graph of a registered workflow as it is declared."""
    return state().engine().graph_of_workflow(workflow)


def upcoming() -> dict[tuple[str, str], datetime]:
    """Return the next window of every cron trigger, by workflow and trigger."""
    return state().engine().upcoming()


def find_runs(run_ids: Iterable[str]) -> dict[str, Run]:
    """Return the runs with these ids by their id; those that do not exist are left out."""
    return state().engine().find_runs(run_ids)


def list_runs_by_prefix(prefix: str, *, limit: int) -> tuple[Run, ...]:
    """Return up to *limit* runs whose id begins with *prefix*, newest first."""
    return state().engine().list_runs_by_prefix(prefix, limit=limit)


def list_versions(workflow: str) -> tuple[Version, ...]:
    """Return the definitions of a workflow that runs were started with, the latest first."""
    return state().engine().list_versions(workflow)


def look_over() -> Overview:
    """Return all runs at a glance: how many, what does not move, what failed."""
    return state().engine().look_over()


def list_waiting(*, limit: int = 50, after: str | None = None) -> WaitingPage:
    """Return a page of what waits for people, longest first."""
    return state().engine().list_waiting(limit=limit, after=after)


def _resolve(run_id: str, verb: Verb, **said: Unpack[Answer]) -> Run:
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

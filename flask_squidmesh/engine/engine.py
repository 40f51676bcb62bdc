"""The engine of one application: the operations the edges and the workers call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from flask_squidmesh.clock import Clock
from flask_squidmesh.config import Settings
from flask_squidmesh.definition import documents
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.engine import (
    attempt,
    control,
    explain,
    graph,
    inspect,
    lease,
    overview,
    replay,
    schedule,
    start,
    survey,
    tick,
)
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.store import failure, transaction
from flask_squidmesh.types import Explanation, Run, RunGraph, RunPage, TickResult, WorkflowGraph


class Engine:
    """Thread-safe; nothing in it sends, and all news are returned or passed on after commit."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def settings(self) -> Settings:
        """The application's settings."""
        return self._runtime.settings

    @property
    def clock(self) -> Clock:
        """The application's clock."""
        return self._runtime.clock

    # Running steps.

    def deliver(
        self,
        run_id: str,
        step: str,
        *,
        may_continue: Callable[[], bool],
        after_commit: Callable[[News], None],
        is_ending: Callable[[], bool] = lambda: False,
        other_runs: bool = False,
        then: deque[str] | None = None,
    ) -> str:
        """Do what a message about *step* asks for; see `attempt.deliver`."""
        return attempt.deliver(
            self._runtime,
            run_id,
            step,
            may_continue=may_continue,
            after_commit=after_commit,
            is_ending=is_ending,
            other_runs=other_runs,
            then=then,
        )

    def take_waiting(self) -> Ring | None:
        """Return a run that nobody has begun, if the last deliveries suggest that there are some.

        It is a hint like a message, for `deliver`.
        """
        return self._runtime.backlog.take()

    def tick(self, *, limit: int = 500, backlog: int = 0) -> tuple[TickResult, News]:
        """Do one bounded round of the ticker, with *backlog* messages waiting in the queue."""
        return tick.tick(self._runtime, limit=limit, backlog=backlog)

    def overdue(self, *, limit: int) -> tuple[Ring, ...]:
        """Return ready steps whose message was sent over a second ago and that nobody took."""
        return tick.overdue(self._runtime, limit=limit)

    def renew(self) -> int:
        """Renew the leases of what this process executes, where it is time; return how many."""
        return lease.renew_executing(self._runtime)

    # For tests that do the work of workers themselves.

    @property
    def performed(self) -> int:
        """How many attempts this engine has executed."""
        return self._runtime.executing.count

    def expire(self) -> int:
        """Abandon the attempts whose lease has run out; return how many."""
        return tick.expire(self._runtime)

    def use_clock(self, clock: Clock) -> None:
        """Judge by *clock* from now on."""
        self._runtime.clock = clock
        self._runtime.look_at_cron_anew()

    def list_ready(self, *, limit: int = 100) -> list[Ring]:
        """Return steps that may be claimed now, in the order they became ready."""
        return tick.list_ready(self._runtime, limit=limit)

    def next_moment(self) -> datetime | None:
        """Return when the next timer, retry or lease ends."""
        return tick.next_moment(self._runtime)

    # Starting and deciding.

    def start_run(
        self,
        workflow: str | type[Workflow],
        payload: Mapping[str, Any] | None,
        *,
        trigger: str | None,
        idempotency_key: str | None,
        connection: transaction.Connection | None = None,
    ) -> tuple[Run, News]:
        """Start a run, through *connection* if one is given, else in an own transaction."""
        code = self._runtime.registry.get(workflow).__squidmesh__
        request = start.prepare(
            self._runtime, code, payload, trigger=trigger, idempotency_key=idempotency_key
        )
        if connection is not None:
            with failure.explained():
                return start.insert(self._runtime, connection, request)
        return start.start(self._runtime, request)

    def remember_start(self, workflow: str | type[Workflow]) -> None:
        """Note that the transaction in which a run of *workflow* was started is committed.

        Its definition is stored then, and the next start need not store it.
        """
        definition = self._runtime.registry.get(workflow).definition
        self._runtime.remember_stored(definition.fingerprint)

    def resolve(self, run_id: str, verb: control.Verb, **said: Any) -> tuple[Run, News]:
        """Answer a pause or an approval."""
        return control.resolve(self._runtime, run_id, verb, **said)

    def cancel_run(self, run_id: str, **said: Any) -> tuple[Run, News]:
        """Cancel a run."""
        return control.cancel(self._runtime, run_id, **said)

    def replay_run(
        self,
        run_id: str,
        *,
        actor: object,
        comment: object = None,
        idempotency_key: str | None = None,
    ) -> tuple[Run, News]:
        """Start a new run from what another was asked for."""
        known_id = control.require_id(run_id)
        said = control.check_statement(
            self._runtime, actor=actor, comment=comment, metadata=None, needs_actor=False
        )
        encoded = {name: documents.encode(value, what=name) for name, value in said.items()}
        return replay.replay(
            self._runtime,
            known_id,
            actor=encoded.get("actor"),
            comment=encoded.get("comment"),
            idempotency_key=idempotency_key,
        )

    # Reading.

    def inspect_run(self, run_id: str, *, include_history: bool = False) -> Run:
        """Return a run."""
        known_id = control.require_id(run_id)
        return transaction.read(
            self._runtime.database,
            lambda connection: inspect.load_run(
                self._runtime, connection, known_id, include_history=include_history
            ),
        )

    def explain_run(self, run_id: str) -> Explanation:
        """Return why a run is where it is."""
        return explain.explain(self._runtime, control.require_id(run_id))

    def graph_of_run(self, run_id: str) -> RunGraph:
        """Return the graph of a run."""
        return graph.graph(self._runtime, control.require_id(run_id))

    def list_runs(self, **filters: Any) -> RunPage:
        """Return a page of runs."""
        return inspect.list_runs(self._runtime, **filters)

    def list_runs_by_prefix(self, prefix: str, *, limit: int) -> tuple[Run, ...]:
        """Return up to *limit* runs whose id begins with *prefix*, newest first."""
        return inspect.list_by_prefix(self._runtime, prefix, limit=limit)

    def find_runs(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """Return the runs with these ids by their id; those that do not exist are left out."""
        return overview.find_runs(self._runtime, run_ids)

    def study_run(self, run_id: str) -> overview.Study:
        """Return everything that is told about a run, from one look at it."""
        return overview.study(self._runtime, control.require_id(run_id))

    def list_versions(self, workflow: str) -> tuple[overview.Version, ...]:
        """Return the definitions of a workflow that runs were started with, the latest first."""
        return overview.list_versions(self._runtime, workflow)

    def look_over(self) -> overview.Overview:
        """Return all runs at a glance."""
        return overview.look_over(self._runtime)

    def list_waiting(self, *, limit: int, after: str | None) -> overview.WaitingPage:
        """Return what waits for people, longest first."""
        return overview.list_waiting(self._runtime, limit=limit, after=after)

    def graph_of_workflow(self, workflow: str | type[Workflow]) -> WorkflowGraph:
        """Return the graph of a registered workflow."""
        return graph.declared(self._runtime.registry.get(workflow).definition)

    def upcoming(self) -> dict[tuple[str, str], datetime]:
        """Return the next window of every cron trigger, by workflow and trigger."""
        return schedule.upcoming(self._runtime)

    def look_at_storage(self) -> survey.Storage:
        """Return the state of the database, for `check`."""
        return survey.look_at_storage(self._runtime)

    def look_at_work(self) -> survey.Work:
        """Return the work in the database, for `check`."""
        return survey.look_at_work(self._runtime)

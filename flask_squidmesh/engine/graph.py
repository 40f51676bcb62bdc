"""The graph a run follows, with the state of its steps and edges; a pure read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from flask_squidmesh.definition.spec import COMPLETE, Definition
from flask_squidmesh.engine.inspect import load_run
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.lifecycle.facts import ENDED
from flask_squidmesh.lifecycle.states import STEP_RUN, RunStatus, StepRunStatus, terminal
from flask_squidmesh.store import transaction
from flask_squidmesh.types import GraphEdge, GraphNode, Run, RunGraph, StepState, WorkflowGraph

_OVER: Final = frozenset(terminal(STEP_RUN))


def graph(runtime: Runtime, run_id: str) -> RunGraph:
    """Return the graph of a run.

    Raises:
        RunNotFound: There is no such run.
    """

    def work(connection: transaction.Connection) -> tuple[Run, Definition]:
        run = load_run(runtime, connection, run_id, include_history=True)
        return run, runtime.definition_of(connection, run_id)

    return tell(*transaction.read(runtime.database, work))


def tell(run: Run, definition: Definition) -> RunGraph:
    """Return the graph of *run*, which has its history."""
    reader = _Reader(run, definition)
    return RunGraph(
        run_id=run.id,
        workflow=run.workflow,
        status=run.status,
        nodes=tuple(reader.nodes()),
        edges=tuple(reader.edges()),
    )


def declared(definition: Definition) -> WorkflowGraph:
    """Return the graph of a workflow as it is declared."""
    nodes = [
        GraphNode(step.name, step.kind, "not_started", 0, current=False)
        for step in definition.steps
    ]
    if definition.mode == "transition":
        nodes.append(GraphNode(COMPLETE, COMPLETE, "not_started", 0, current=False))
    edges = tuple(_edges(definition, lambda *_: "pending"))
    return WorkflowGraph(definition.name, definition.version, tuple(nodes), edges)


def _edges(
    definition: Definition, status_of: Callable[[str, str | None], str]
) -> Iterator[GraphEdge]:
    """Yield transitions as declared, or dependencies in the order of what waits."""
    for transition in definition.transitions:
        yield GraphEdge(
            id=f"{transition.source}:{transition.on}",
            from_=transition.source,
            to=transition.to,
            type="transition",
            on=transition.on,
            status=status_of(transition.source, transition.on),
        )
    for step in definition.steps:
        for name in step.depends_on:
            yield GraphEdge(
                id=f"{name}:{step.name}",
                from_=name,
                to=step.name,
                type="dependency",
                on=None,
                status=status_of(name, None),
            )


class _Reader:
    """Tells nodes and edges from a run's history."""

    def __init__(self, run: Run, definition: Definition) -> None:
        self._run = run
        self._definition = definition
        self._states = {state.step: state for state in run.steps or ()}
        self._taken = {(s.step, s.outcome) for s in run.step_runs or () if s.outcome is not None}
        self._left = {step for step, _ in self._taken}
        self._is_over = RunStatus(run.status) in ENDED or run.status == RunStatus.CANCELLING

    def nodes(self) -> Iterator[GraphNode]:
        """Yield the steps in declaration order, then the end of a transition workflow."""
        for state in self._states.values():
            yield GraphNode(
                id=state.step,
                kind=state.kind,
                status=state.status,
                visits=state.visit,
                current=self._is_current(state),
            )
        if self._definition.mode == "transition":
            is_reached = self._run.status == RunStatus.COMPLETED
            status = StepRunStatus.COMPLETED.value if is_reached else "not_started"
            yield GraphNode(COMPLETE, COMPLETE, status, int(is_reached), current=False)

    @staticmethod
    def _is_current(state: StepState) -> bool:
        return state.visit > 0 and state.status not in _OVER

    def edges(self) -> Iterator[GraphEdge]:
        """Yield the edges with what became of them."""
        return _edges(self._definition, self._edge_status)

    def _edge_status(self, source: str, on: str | None) -> str:
        if on is None:
            return self._dependency_status(source)
        if (source, on) in self._taken:
            return "selected"
        if source in self._left and not self._is_current(self._states[source]):
            return "skipped"
        return "blocked" if self._is_over else "pending"

    def _dependency_status(self, name: str) -> str:
        if (name, "ok") in self._taken:
            return "selected"
        return "blocked" if self._is_over else "pending"

"""What the public calls return: frozen values with `to_dict()`.

Times are aware, in UTC; `to_dict()` gives JSON-safe data with ISO 8601 text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, overload


def jsonable(value: Any) -> Any:
    """Return *value* with result objects, mappings, sequences and times made JSON-safe."""
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


class Result:
    """Base of the results: frozen dataclasses that turn into JSON-safe mappings."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, JSON-safe, keyed by their names."""
        return {f.name: jsonable(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass


@dataclass(frozen=True, slots=True)
class Attempt(Result):
    """One try of one step run; a retry is the next attempt, numbered from 1.

    Attributes:
        number: From 1.
        status: `"running"`, `"completed"`, `"failed"`, `"cancelled"`, or `"abandoned"`
            (its worker vanished). A timer or a pause that lasts is `"running"`.
        error: How it failed, with `code`, `message`, `type`, `details` and
            `retryable`; None where it did not.
        worker: Who executed it, as text for people; None where nobody did.
        started_at: When it was claimed, or the timer or pause began.
        finished_at: When it ended; None while it lasts.
    """

    number: int
    status: str
    error: Mapping[str, Any] | None
    worker: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepRun(Result):
    """One activation of a step; a loop's next visit is a new one.

    Attributes:
        step: The step's name.
        kind: `"step"`, `"wait"`, `"log"`, `"pause"` or `"approval"`.
        visit: The how-manyth time the step was entered in this run, from 1.
        status: `"pending"` (ready, not claimed), `"waiting"` (timer), `"running"`,
            `"paused"`, `"retrying"`, `"completed"`, `"failed"` or `"cancelled"`.
        outcome: The route taken when it ended, `"ok"` or `"error"`; None while it is
            unfinished and where its end led nowhere.
        input: What the function sees, or saw; the same for every attempt.
        output: What was stored of what it returned.
        attempts: Its attempts, in order.
        due_at: When something has to happen next, if nothing happens before: the end
            of a timer or delay, the end of the lease, or another message. None when
            it stands still or has ended.
        created_at: When it became ready.
        finished_at: When it ended; None while it has not.
    """

    step: str
    kind: str
    visit: int
    status: str
    outcome: str | None
    input: Any
    output: Any
    attempts: tuple[Attempt, ...]
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepState(Result):
    """Where one declared step stands; with loops, its latest visit.

    What is not told here is as in `StepRun`.

    Attributes:
        status: `"not_started"` for a step that was not entered, else as in `StepRun`.
        depends_on: The steps it waits for, in a dependency workflow.
        visit: How often it was entered; 0 for a step that was not.
        last_error: The error of its last attempt that failed; None without one.
        created_at: When it became ready; None for a step that was not entered.
    """

    step: str
    kind: str
    status: str
    depends_on: tuple[str, ...]
    visit: int
    input: Any
    output: Any
    last_error: Mapping[str, Any] | None
    attempts: tuple[Attempt, ...]
    due_at: datetime | None
    created_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditEvent(Result):
    """Something a person did, or was asked to do.

    Attributes:
        type: `"paused"` (somebody was asked), `"resumed"`, `"approved"`, `"rejected"`,
            `"cancelled"` or `"replayed"`.
        step: The step it was about; None when it was about the run.
        actor: Who did it, as it was given: text, a mapping, or None.
        comment: What was said about it, or None.
        metadata: The facts kept with it, or None. `"replayed"` stands in the new run
            and names the `source_run_id` here.
        at: When.
    """

    type: str
    step: str | None
    actor: Any
    comment: str | None
    metadata: Mapping[str, Any] | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Run(Result):
    """One run of a workflow.

    Attributes:
        id: A UUID of version 7 as text, so ids sort by time.
        workflow: The workflow's registered name.
        definition_version: The label `version` of the definition it follows.
        trigger: The name of the trigger that started it.
        status: `"pending"`, `"running"`, `"retrying"`, `"paused"`, `"cancelling"`,
            `"completed"`, `"failed"` or `"cancelled"`; the last three are final.
        payload: What it was started with, defaults filled in.
        context: The outputs of its completed steps, later ones over earlier ones.
        current_step: The active step of a transition workflow, or the failed step of
            a failed run; else None.
        last_error: The error, with its `step`, while it is retrying and after it has
            failed; else None, also after an error route was taken.
        replayed_from_run_id: The run it is a replay of.
        created_at: When it was started.
        updated_at: When its status last changed.
        finished_at: When it ended; None while it has not.
        steps: One `StepState` per declared step, in the order of declaration.
        step_runs: One `StepRun` per activation, in the order they became ready.
        audit_events: What people did, and were asked to do, in order.

    The last three are None unless the history was asked for.
    """

    id: str
    workflow: str
    definition_version: str | None
    trigger: str
    status: str
    payload: Mapping[str, Any]
    context: Mapping[str, Any]
    current_step: str | None
    last_error: Mapping[str, Any] | None
    replayed_from_run_id: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    steps: tuple[StepState, ...] | None = None
    step_runs: tuple[StepRun, ...] | None = None
    audit_events: tuple[AuditEvent, ...] | None = None

    def without_history(self) -> Run:
        """Return the run as it is read without its history."""
        return replace(self, steps=None, step_runs=None, audit_events=None)


@dataclass(frozen=True, slots=True)
class RunPage(Result, Sequence[Run]):
    """A page of runs, newest first; `next` continues after it (None: there is no more).

    A sequence: `len(page)`, `page[0]` and iteration are those of its runs.
    `to_dict()` gives `{"items": [...], "next": ...}`.
    """

    items: tuple[Run, ...]
    next: str | None = None

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | Sequence[Run]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class Explanation(Result):
    """Why a run is where it is, and what can be done.

    Attributes:
        status: The run's.
        reason: A stable word for the situation, such as `"waiting_for_retry"`.
        step: The step it is about; None when it is about the run.
        details: What belongs to the reason, such as `retry_at`.
        next_actions: Names of methods that can be called now, or of what to wait for.
        evidence: The facts this was told from: `run`, `step_run`, `latest_attempt`
            and `dependencies` (step to status).
    """

    status: str
    reason: str
    step: str | None
    details: Mapping[str, Any]
    next_actions: tuple[str, ...]
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GraphNode(Result):
    """A step in a run's graph; `visits` counts how often it was entered.

    Attributes:
        id: The step's name, or `"complete"` for the end of the run.
        kind: The step's kind, or `"complete"`.
        status: The step's, as in `StepState`.
        visits: How often it was entered.
        current: Whether the run stands here.
    """

    id: str
    kind: str
    status: str
    visits: int
    current: bool


@dataclass(frozen=True, slots=True)
class GraphEdge(Result):
    """A transition or dependency in a run's graph; `to_dict()` calls `from_` `from`.

    Attributes:
        id: Unique within the graph.
        from_: The id of the node it leaves.
        to: The id of the node it leads to.
        type: `"transition"` or `"dependency"`.
        on: The outcome on which a transition is taken, `"ok"` or `"error"`.
        status: `"selected"` (taken), `"skipped"` (another was), `"pending"`, or
            `"blocked"` (the run will never get there).
    """

    id: str
    from_: str
    to: str
    type: str
    on: str | None
    status: str

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, keyed by their names in the contract."""
        return {
            "id": self.id,
            "from": self.from_,
            "to": self.to,
            "type": self.type,
            "on": self.on,
            "status": self.status,
        }


@dataclass(frozen=True, slots=True)
class RunGraph(Result):
    """The graph a run follows, with the state of its steps and edges."""

    run_id: str
    workflow: str
    status: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart; states are labelled, not only coloured."""
        numbers = {node.id: f"n{index}" for index, node in enumerate(self.nodes)}
        lines = ["flowchart TD"]
        for node in self.nodes:
            visits = f", {node.visits} visits" if node.visits > 1 else ""
            label = f'"{_escaped(node.id)}<br/>{node.kind}: {node.status}{visits}"'
            lines.append(f"    {numbers[node.id]}[{label}]:::{node.status}")
        lines += _arrows(self.edges, numbers)
        used = sorted({node.status for node in self.nodes})
        lines += [f"    classDef {status} {_STYLES[status]}" for status in used]
        current = [numbers[node.id] for node in self.nodes if node.current]
        lines += [f"    style {number} stroke-width:4px" for number in current]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class WorkflowGraph(Result):
    """The graph of a workflow as it is declared: nothing has happened in it."""

    workflow: str
    version: str | None
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        numbers = {node.id: f"n{index}" for index, node in enumerate(self.nodes)}
        lines = ["flowchart TD"]
        lines += [
            f'    {numbers[node.id]}["{_escaped(node.id)}<br/>{node.kind}"]' for node in self.nodes
        ]
        return "\n".join([*lines, *_arrows(self.edges, numbers, other="-->")]) + "\n"


def _arrows(
    edges: Sequence[GraphEdge], numbers: Mapping[str, str], *, other: str = "-.->"
) -> Iterator[str]:
    for edge in edges:
        arrow = "==>" if edge.status == "selected" else other
        label = "" if edge.on is None else f"|{edge.on}|"
        yield f"    {numbers[edge.from_]} {arrow}{label} {numbers[edge.to]}"


_STYLES = {
    "not_started": "fill:#f4f4f4,stroke:#999,color:#333",
    "pending": "fill:#e8f0fe,stroke:#3367d6,color:#111",
    "waiting": "fill:#e8f0fe,stroke:#3367d6,color:#111",
    "running": "fill:#d2e3fc,stroke:#1a56c4,color:#111",
    "paused": "fill:#fef3c7,stroke:#b45309,color:#111",
    "retrying": "fill:#ffedd5,stroke:#c2410c,color:#111",
    "completed": "fill:#dcfce7,stroke:#15803d,color:#111",
    "failed": "fill:#fee2e2,stroke:#b91c1c,color:#111",
    "cancelled": "fill:#e5e5e5,stroke:#555,color:#333",
}


def _escaped(text: str) -> str:
    """Return *text* for a Mermaid label: no character of it is markup, or ends the label."""
    return "".join(
        character if character.isalnum() or character in "_ " else f"#{ord(character)};"
        for character in text
    )


@dataclass(frozen=True, slots=True)
class TickResult(Result):
    """What one round of the ticker did.

    Attributes:
        due: Steps that were rung, because they were ready and nobody came.
        expired: Leases that had run out.
        started: Runs that were started by cron.
    """

    due: int = 0
    expired: int = 0
    started: int = 0

"""What a worker keeps in mind about a run while it goes on with it.

The context is not a row: it is the outputs of the completed step runs in the
order they completed, assembled once when a worker claims a step and carried
along while it continues inline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.definition.spec import Definition, StepSpec
from flask_squidmesh.engine.news import NOTHING, News
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.history import Output, StepRunRow
from flask_squidmesh.store.runs import RunRow


def merge_output(context: dict[str, Any], step: StepSpec, output: str | None) -> None:
    """Add a step's encoded output to *context*, under its key or shallowly merged."""
    if output is None:
        return
    value = documents.decode(output)
    if step.output is not None:
        context[step.output] = value
    elif isinstance(value, Mapping):
        context.update(value)


def assemble_context(definition: Definition, outputs: Iterable[Output]) -> dict[str, Any]:
    """Return the context that outputs, given in the order they came, add up to."""
    context: dict[str, Any] = {}
    for step, output in outputs:
        merge_output(context, definition.steps_by_name[step], output)
    return context


@dataclass
class Memory:
    """A run as one worker knows it: up to the attempt with `ordinal`.

    In a transition workflow nobody else ends attempts, so that is the run's
    last one; in a dependency workflow it is how far the context reaches.
    `context_bytes` is at least the size of the context's document: the sum of
    the outputs' sizes.
    """

    payload: Mapping[str, Any]
    context: dict[str, Any] = field(default_factory=dict)
    context_bytes: int = 0
    visits: dict[str, int] = field(default_factory=dict)
    ordinal: int = 0
    failure: Mapping[str, Any] | None = None

    def add(self, definition: Definition, ended: Iterable[StepRunRow]) -> None:
        """Take note of step runs that ended, in the order they did."""
        for row in ended:
            self.visits[row.step] = max(self.visits.get(row.step, 0), row.visit)
            self.ordinal = max(self.ordinal, row.ordinal)
            if row.outcome is not None and row.output is not None:
                merge_output(self.context, definition.steps_by_name[row.step], row.output)
                self.context_bytes += len(row.output)

    def complete(self, step: StepSpec, output: str | None) -> None:
        """Take note that *step*, the one that was executing, has completed with this output."""
        self.ordinal += 1
        self.failure = None
        if output is not None:
            merge_output(self.context, step, output)
            self.context_bytes += len(output)


@dataclass(eq=False)
class Held:
    """A claim: one attempt that this worker is executing, with all it needs for it.

    `lease_until` follows the renewals; `is_lost` is set once one was refused.
    """

    run: RunRow
    definition: Definition
    code: WorkflowCode
    inline: frozenset[str]
    branch: Branch
    memory: Memory
    lease_until: datetime
    renewed: float
    is_lost: bool = False

    @property
    def step(self) -> StepSpec:
        return self.definition.steps_by_name[self.branch.step]

    @property
    def idempotency_key(self) -> str:
        """Stable for the run, the step and the visit: the same for every retry."""
        return f"{self.run.id}:{self.branch.step}:{self.branch.visit}"


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of an attempt: the next claim if this worker goes on, and the news."""

    held: Held | None = None
    news: News = NOTHING

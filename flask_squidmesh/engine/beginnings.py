"""Which runs begin with a step that this process can claim without looking further.

`decide` is asked once per definition, not once per message: it is pure, and its
answer about the first claim of a run depends on nothing but the definition and
the run's status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.definition.registry import Registry
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.decide import decide
from flask_squidmesh.lifecycle.facts import Facts, Limits, Taken
from flask_squidmesh.lifecycle.states import RunEvent, RunStatus, StepRunStatus

_ANSWERS: Final = {
    RunStatus.PENDING: (do.Claim(), do.MoveRun(RunEvent.START)),
    RunStatus.RUNNING: (do.Claim(),),
}
"""What the ordinary first claim does, by the status of the run it finds."""

Beginning = Mapping[str, WorkflowCode]


class Beginnings:
    """The registered workflows by the step their runs begin with, and by fingerprint."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._size = -1
        self._by_step: dict[str, dict[str, WorkflowCode]] = {}

    def with_step(self, step: str) -> Beginning:
        """Return the code of those that begin with *step* and claim it as usual."""
        return self._known().get(step, {})

    def named(self) -> tuple[list[str], list[str]]:
        """Return the names of all of them, and those of the steps they begin with."""
        known = self._known()
        workflows = {code.definition.name for codes in known.values() for code in codes.values()}
        return sorted(workflows), sorted(known)

    def _known(self) -> dict[str, dict[str, WorkflowCode]]:
        # Classes are only ever added.
        if len(self._registry) != self._size:
            self._size, self._by_step = len(self._registry), self._look()
        return self._by_step

    def _look(self) -> dict[str, dict[str, WorkflowCode]]:
        found: dict[str, dict[str, WorkflowCode]] = {}
        for name in self._registry.names():
            code = self._registry.get(name).__squidmesh__
            definition = code.definition
            if definition.mode == "transition" and _is_ordinary(definition):
                found.setdefault(definition.entry_steps[0], {})[definition.fingerprint] = code
        return found


def _is_ordinary(definition: Definition) -> bool:
    return all(
        decide(_facts(definition, status), Taken()) == answer for status, answer in _ANSWERS.items()
    )


def _facts(definition: Definition, status: RunStatus) -> Facts:
    return Facts(
        definition=definition,
        limits=Limits(max_step_visits=1, max_lost_attempts=1),
        run=status,
        step=definition.entry_steps[0],
        visit=1,
        status=StepRunStatus.PENDING,
    )

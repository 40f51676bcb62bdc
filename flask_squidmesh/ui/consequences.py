"""What an answer would lead to, told before it is given; pure.

The first move is asked of `lifecycle.decide`, which will make it; what follows
if nothing goes wrong is read from the definition's transitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from flask_squidmesh.definition.spec import COMPLETE, Definition, OutcomeName, StepSpec
from flask_squidmesh.lifecycle import decide as lifecycle
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.facts import Facts, Limits, Resolved
from flask_squidmesh.lifecycle.states import RunEvent, RunStatus, StepRunStatus

Answer = Literal["approve", "reject", "unblock"]
_RECORDED: Final[Mapping[Answer, Literal["approved", "rejected", "resumed"]]] = {
    "approve": "approved",
    "reject": "rejected",
    "unblock": "resumed",
}
_QUESTIONS: Final = ("pause", "approval")


@dataclass(frozen=True, slots=True)
class Consequence:
    """Where a run goes: the steps it takes if each succeeds, and how that ends.

    `end` is `"completes"`, `"asks"` (a person, at the last step of the path),
    `"loops"` (back to `back_to`), `"fails"` (at once: `back_to` was entered too
    often, or there is no route), or `"joins"`: the steps of the path wait for
    this one, among others.
    """

    path: tuple[StepSpec, ...]
    end: Literal["completes", "asks", "loops", "fails", "joins"]
    back_to: str | None = None


def of_answer(
    definition: Definition,
    step: str,
    visit: int,
    answer: Answer,
    *,
    visits: Mapping[str, int],
    limits: Limits,
) -> Consequence:
    """Return what *answer* to the question at *step* leads to."""
    facts = Facts(
        definition=definition,
        limits=limits,
        run=RunStatus.PAUSED,
        step=step,
        visit=visit,
        status=StepRunStatus.PAUSED,
        attempt=1,
        visits=visits,
    )
    effects = lifecycle.decide(facts, Resolved(_RECORDED[answer]))
    for effect in effects:
        if isinstance(effect, do.Move):
            return _path_from(definition, effect.step)
        if isinstance(effect, do.MoveRun) and effect.event == RunEvent.FAIL:
            goes_to = definition.routes[step, "error" if answer == "reject" else "ok"]
            return Consequence((), "fails", goes_to)
    return Consequence((), "completes")


def of_outcome(definition: Definition, step: str, on: OutcomeName) -> Consequence:
    """Return where the run goes when *step* ends with this outcome, by its definition."""
    if definition.mode == "dependency":
        if on == "error":
            return Consequence((), "fails")
        waiting = definition.dependents.get(step, ())
        path = tuple(definition.steps_by_name[name] for name in waiting)
        return Consequence(path, "joins" if path else "completes")
    goes_to = definition.routes.get((step, on))
    return Consequence((), "fails") if goes_to is None else _path_from(definition, goes_to)


def _path_from(definition: Definition, step: str) -> Consequence:
    path: dict[str, StepSpec] = {}
    while step != COMPLETE:
        if step in path:
            return Consequence(tuple(path.values()), "loops", step)
        spec = definition.steps_by_name[step]
        path[step] = spec
        if spec.kind in _QUESTIONS:
            return Consequence(tuple(path.values()), "asks")
        step = definition.routes.get((step, "ok"), COMPLETE)
    return Consequence(tuple(path.values()), "completes")


def of_cancelling(
    status: str, *, executing: bool
) -> Literal["at_once", "when_the_step_ends"] | None:
    """Return when cancelling a run would end it; None when its status does not allow it."""
    try:
        effects = lifecycle.cancel(RunStatus(status), executing=executing, step=None)
    except lifecycle.Refused:
        return None
    events = [effect.event for effect in effects if isinstance(effect, do.MoveRun)]
    return "at_once" if RunEvent.CANCEL in events else "when_the_step_ends"

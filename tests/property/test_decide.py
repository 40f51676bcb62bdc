"""Whatever is declared and whatever happens: no illegal move, nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.lifecycle.facts import ENDED, Failed, Lost, Outcome, Resolved, Succeeded, Taken
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from tests.property.simulator import Simulator
from tests.strategies import definitions, dependency_definitions, transition_definitions

Draw = Callable[[st.SearchStrategy[Any]], Any]
"""How a test draws in the middle of its story: `data.draw`."""
MANY = settings(max_examples=400, deadline=None)


def error(*, retryable: bool) -> dict[str, Any]:
    return {
        "code": "exception",
        "message": "down",
        "type": None,
        "details": None,
        "retryable": retryable,
    }


def executed(draw: Draw, kind: str) -> Outcome:
    """Return how an attempt of a step of this kind ends."""
    if kind != "step":
        known: Outcome = draw(st.sampled_from([Succeeded(), Lost(error(retryable=True))]))
        return known
    made: Outcome = draw(
        st.one_of(
            st.just(Succeeded()),
            st.builds(
                Failed,
                st.booleans().map(lambda retryable: error(retryable=retryable)),
                st.none() | st.floats(-1, 1e6),
            ),
            st.just(Lost(error(retryable=True))),
        )
    )
    return made


def advance(draw: Draw, run: Simulator) -> bool:
    """Let one thing happen that may; False when nothing may any more."""
    slots = sorted({*run.ready(), *run.executing(), *run.paused()})
    if not slots:
        return False
    slot = draw(st.sampled_from(slots))
    place = run.places[slot]
    kind = run.definition.steps_by_name[place.step].kind
    outcome: Outcome = Taken()
    if place.status == StepRunStatus.PAUSED:
        answers = ("resumed",) if kind == "pause" else ("approved", "rejected")
        outcome = Resolved(draw(st.sampled_from(answers)))
    elif place.status == StepRunStatus.RUNNING:
        outcome = executed(draw, kind)
    run.happen(slot, outcome, inline=draw(st.booleans()))
    return True


@MANY
@given(definition=definitions, data=st.data())
def test_no_story_breaks_a_promise(definition: Definition, data: st.DataObject) -> None:
    """The simulator asserts after every decision; this makes up the stories."""
    run = Simulator(definition)
    before = run.run
    for _ in range(60):
        if data.draw(st.integers(0, 30)) == 30:
            refused = run.run in ENDED or run.run == RunStatus.CANCELLING
            assert run.cancel() is not refused
        if not advance(data.draw, run):
            break
        assert before not in ENDED or run.run == before, "the end is final"
        before = run.run


@MANY
@given(definition=dependency_definitions(), data=st.data())
def test_dependency_run_in_which_all_succeeds_completes(
    definition: Definition, data: st.DataObject
) -> None:
    run = Simulator(definition)
    while run.places:
        slot = data.draw(st.sampled_from(sorted(run.places)))
        outcome = Succeeded() if run.places[slot].status == StepRunStatus.RUNNING else Taken()
        run.happen(slot, outcome, inline=data.draw(st.booleans()))
    assert run.run == RunStatus.COMPLETED
    assert sorted(run.entered) == sorted((spec.name, 1) for spec in definition.steps)


@MANY
@given(definition=dependency_definitions(), data=st.data())
def test_step_is_entered_only_after_all_it_depends_on(
    definition: Definition, data: st.DataObject
) -> None:
    run = Simulator(definition)
    for _ in range(60):
        if not advance(data.draw, run):
            break
        for name, visit in run.entered:
            for before in definition.steps_by_name[name].depends_on:
                assert run.ended[(before, visit)] == StepRunStatus.COMPLETED


@MANY
@given(definition=definitions, data=st.data())
def test_run_that_is_let_go_on_ends(definition: Definition, data: st.DataObject) -> None:
    """Attempts and visits are limited, so no story goes on for ever."""
    run = Simulator(definition)
    for _ in range(2_000):
        if not run.places:
            break
        slot = min(run.places)
        place = run.places[slot]
        kind = definition.steps_by_name[place.step].kind
        outcome: Outcome = Taken()
        if place.status == StepRunStatus.PAUSED:
            outcome = Resolved("resumed" if kind == "pause" else "approved")
        elif place.status == StepRunStatus.RUNNING:
            outcome = Failed(error(retryable=True)) if kind == "step" else Succeeded()
        run.happen(slot, outcome, inline=False)
    assert run.run in ENDED


@MANY
@given(definition=transition_definitions(), data=st.data())
def test_transition_run_stands_at_one_step(definition: Definition, data: st.DataObject) -> None:
    run = Simulator(definition)
    while advance(data.draw, run) and len(run.entered) < 30:
        assert len(run.places) == (0 if run.run in ENDED else 1)


@MANY
@given(definition=transition_definitions(), data=st.data())
def test_every_stop_is_written_down_and_answered_once(
    definition: Definition, data: st.DataObject
) -> None:
    run = Simulator(definition)
    while advance(data.draw, run) and len(run.entered) < 30:
        stops, answers = run.events[::2], run.events[1::2]
        assert set(stops) <= {"paused"}
        assert set(answers) <= {"resumed", "approved", "rejected"}
        assert len(stops) - len(answers) == (run.run == RunStatus.PAUSED)

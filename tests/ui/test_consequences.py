"""What an answer would lead to, as it is told, is what it does lead to."""

from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.spec import COMPLETE
from flask_squidmesh.lifecycle.decide import decide
from flask_squidmesh.lifecycle.effects import Leave, Move, MoveRun
from flask_squidmesh.lifecycle.facts import Facts, Limits, Resolved
from flask_squidmesh.lifecycle.states import RUN, RunEvent, RunStatus, StepRunStatus
from flask_squidmesh.ui import consequences
from flask_squidmesh.ui.phrases import follows
from flask_squidmesh.ui.text import plain
from tests.strategies import definitions, transition_definitions

LIMITS = Limits(max_step_visits=3, max_lost_attempts=2)
EVENTS: dict[str, Literal["approved", "rejected", "resumed"]] = {
    "approve": "approved",
    "reject": "rejected",
    "unblock": "resumed",
}


@st.composite
def questions(draw):
    """Return a definition, a question in it with one of its answers, and visits so far."""
    asking = transition_definitions().filter(
        lambda d: any(s.kind in ("pause", "approval") for s in d.steps)
    )
    definition = draw(asking)
    step = draw(st.sampled_from([s for s in definition.steps if s.kind in ("pause", "approval")]))
    answer = draw(st.sampled_from(["unblock"] if step.kind == "pause" else ["approve", "reject"]))
    visits = draw(
        st.dictionaries(st.sampled_from([s.name for s in definition.steps]), st.integers(1, 3))
    )
    return definition, step.name, visits.get(step.name, 1), answer, visits


@given(questions())
def test_the_first_move_told_is_the_move_that_is_made(question):
    definition, step, visit, answer, visits = question
    told = consequences.of_answer(definition, step, visit, answer, visits=visits, limits=LIMITS)
    facts = Facts(
        definition=definition,
        limits=LIMITS,
        run=RunStatus.PAUSED,
        step=step,
        visit=visit,
        status=StepRunStatus.PAUSED,
        visits=visits,
    )
    effects = decide(facts, Resolved(EVENTS[answer]))
    moves = [effect.step for effect in effects if isinstance(effect, Move)]
    events = [effect.event for effect in effects if isinstance(effect, MoveRun)]

    assert moves == [spec.name for spec in told.path[:1]]
    assert (RunEvent.FAIL in events) == (told.end == "fails")
    assert (RunEvent.COMPLETE in events) == (told.end == "completes" and not told.path)
    assert any(isinstance(effect, Leave) for effect in effects) == (not told.path)
    if RunEvent.PAUSE in events:
        assert (told.end, len(told.path)) == ("asks", 1)


@given(definitions, st.data())
def test_a_path_follows_the_definition_to_its_end(definition, data):
    step = data.draw(st.sampled_from(definition.steps)).name
    on = data.draw(st.sampled_from(["ok", "error"]))
    told = consequences.of_outcome(definition, step, on)
    names = [spec.name for spec in told.path]

    assert len(names) == len(set(names))
    assert all(definition.steps_by_name[spec.name] is spec for spec in told.path)
    assert plain(follows(told))
    if definition.mode == "dependency":
        assert names == ([] if on == "error" else list(definition.dependents[step]))
        return
    followed = [(step, on), *((name, "ok") for name in names[:-1])]
    assert [definition.routes.get(route) for route in followed[: len(names)]] == names
    beyond = definition.routes.get((names[-1], "ok") if names else (step, on))
    match told.end:
        case "completes":
            assert beyond == COMPLETE
        case "loops":
            assert beyond == told.back_to
            assert told.back_to in names
        case "asks":
            assert told.path[-1].kind in ("pause", "approval")
        case "fails":
            assert (beyond, names) == (None, [])
    assert all(spec.kind not in ("pause", "approval") for spec in told.path[:-1])


@given(st.sampled_from(RunStatus), st.booleans())
def test_cancelling_is_told_as_the_table_of_states_has_it(status, executing):
    told = consequences.of_cancelling(status.value, executing=executing)
    event = {"at_once": RunEvent.CANCEL, "when_the_step_ends": RunEvent.REQUEST_CANCEL}
    if told is None:
        wanted = RunEvent.REQUEST_CANCEL if executing else RunEvent.CANCEL
        assert (status, wanted) not in RUN or status == RunStatus.CANCELLING
    else:
        assert (status, event[told]) in RUN
        assert (told == "when_the_step_ends") == executing

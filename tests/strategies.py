"""Hypothesis strategies that several tests share: definitions, outcomes, events."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from flask_squidmesh.definition.spec import (
    COMPLETE,
    BackoffSpec,
    Definition,
    OutcomeName,
    RetrySpec,
    StepKind,
    StepSpec,
    TransitionSpec,
    TriggerSpec,
)

TRIGGERS = (TriggerSpec("go", "manual"),)
MOST_STEPS = 6

backoffs = st.one_of(
    st.none(),
    st.builds(
        lambda minimum, ratio, factor, jitter: BackoffSpec(
            "exponential", minimum, minimum * ratio, factor, jitter
        ),
        st.floats(0.001, 1e4),
        st.floats(1, 1e6),
        st.floats(1, 1e3),
        st.floats(0, 1),
    ),
    st.builds(lambda seconds: BackoffSpec("fixed", seconds, seconds), st.floats(0.001, 1e6)),
)
retries = st.none() | st.builds(RetrySpec, st.integers(1, 4), backoffs)


def _spec(draw: st.DrawFn, name: str, kind: StepKind, depends_on: tuple[str, ...] = ()) -> StepSpec:
    options: dict[str, Any] = {}
    if kind == "step":
        options = {"retry": draw(retries), "at_most_once": draw(st.booleans())}
    if kind == "wait":
        options = {"seconds": draw(st.floats(0.001, 1e6))}
    return StepSpec(name, kind, depends_on=depends_on, **options)


@st.composite
def transition_definitions(draw: st.DrawFn) -> Definition:
    """A workflow with routes to anywhere: error routes, loops, ends in several places."""
    names = [f"s{number}" for number in range(draw(st.integers(1, MOST_STEPS)))]
    kinds: st.SearchStrategy[StepKind] = st.sampled_from(
        ["step", "step", "step", "wait", "log", "pause", "approval"]
    )
    steps = [_spec(draw, name, draw(kinds)) for name in names]
    targets = st.sampled_from([*names, COMPLETE])
    routes = []
    for spec in steps:
        outcomes: list[OutcomeName] = ["ok"]
        if spec.kind == "approval" or draw(st.booleans()):
            outcomes.append("error")
        routes += [TransitionSpec(spec.name, on, draw(targets)) for on in outcomes]
    return Definition("made", None, "transition", TRIGGERS, tuple(steps), tuple(routes), ("s0",))


@st.composite
def dependency_definitions(draw: st.DrawFn) -> Definition:
    """A graph without cycles: each step waits for some of those declared before it."""
    names = [f"s{number}" for number in range(draw(st.integers(2, MOST_STEPS)))]
    kinds: st.SearchStrategy[StepKind] = st.sampled_from(["step", "step", "step", "wait", "log"])
    steps = []
    for number, name in enumerate(names):
        earlier = names[:number]
        chosen = draw(st.sets(st.sampled_from(earlier), max_size=3)) if earlier else set()
        depends_on = tuple(before for before in earlier if before in chosen)
        steps.append(_spec(draw, name, draw(kinds), depends_on))
    entries = tuple(spec.name for spec in steps if not spec.depends_on)
    return Definition("made", None, "dependency", TRIGGERS, tuple(steps), (), entries)


definitions = transition_definitions() | dependency_definitions()

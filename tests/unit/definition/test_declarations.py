"""Chains remember their transitions and their two ends, however they are written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.declarations import (
    Chain,
    Link,
    Step,
    complete,
    log,
    pause,
    step,
    transition,
    wait,
)

A, B, C, D = pause(), log("b"), wait(seconds=1), step(lambda: None)


def test_a_chain_goes_from_left_to_right():
    chain = A >> B >> C >> complete

    assert chain.links == (Link(A, "ok", B), Link(B, "ok", C), Link(C, "ok", complete))
    assert (chain.head, chain.tail) == (A, complete)


def test_an_error_route_can_be_continued():
    assert (A.on_error(B) >> complete).links == (Link(A, "error", B), Link(B, "ok", complete))


def test_an_error_route_can_lead_into_a_chain():
    assert A.on_error(B >> complete).links == (Link(A, "error", B), Link(B, "ok", complete))


def test_the_explicit_form_is_the_same_transition():
    assert transition(A, on="ok", to=B).links == (A >> B).links
    assert transition(A, on="error", to=B).links == A.on_error(B).links


@given(st.lists(st.sampled_from([A, B, C, D]), min_size=2, max_size=8), st.data())
def test_brackets_do_not_change_a_chain(steps: list[Step], data):
    whole: Chain | Step = steps[0]
    for following in steps[1:]:
        whole = whole >> following
    cut = data.draw(st.integers(1, len(steps) - 1))

    joined = _chained(steps[:cut]) >> _chained(steps[cut:])

    assert isinstance(whole, Chain)
    assert joined.links == whole.links
    assert (joined.head, joined.tail) == (whole.head, whole.tail)


def _chained(steps: list[Step]) -> Chain | Step:
    result: Chain | Step = steps[0]
    for following in steps[1:]:
        result = result >> following
    return result


def test_a_decorator_declares_what_a_call_declares():
    def work() -> None: ...

    for declared in (step(work), step()(work)):
        assert isinstance(declared, Step)
        assert (declared.kind, declared.function) == ("step", work)
    assert step(output="x")(work).output == "x"


def test_complete_says_its_name():
    assert repr(complete) == "complete"

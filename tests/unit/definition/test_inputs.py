"""What a step sees, and how its function is called."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.inputs import MissingInput, bind, parameters_of, select, visible
from flask_squidmesh.definition.spec import StepSpec

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]  # only in annotations

STATE = {
    "account_id": "a-1",
    "invoice": {"account": {"id": 7}, "lines": [{"price": 3}, {"price": 4}], "note": None},
    "a.b": 1,
}


def choose(chosen: Any) -> Mapping[str, Any]:
    return select(StepSpec("load", "step", input=chosen), STATE)


def call(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    args, kwargs = bind(parameters_of(function), inputs, "the context")
    return function(*args, **kwargs)


def test_the_context_wins_over_the_payload():
    assert visible({"a": 1, "b": 1}, {"b": 2, "c": 2}) == {"a": 1, "b": 2, "c": 2}


def test_a_step_sees_everything_unless_it_says_otherwise():
    assert choose(None) == STATE


def test_a_step_sees_the_listed_keys():
    assert choose(("invoice", "a.b")) == {"invoice": STATE["invoice"], "a.b": 1}


def test_a_step_sees_new_names_built_from_paths():
    chosen = choose(
        {"account": "invoice.account.id", "last": "invoice.lines.1.price", "note": "invoice.note"}
    )

    assert chosen == {"account": 7, "last": 4, "note": None}


@pytest.mark.parametrize(
    ("chosen", "target", "path", "segment", "reason"),
    [
        (("nothing",), "nothing", "nothing", "nothing", "is absent"),
        ({"x": "nothing.id"}, "x", "nothing.id", "nothing", "is absent"),
        ({"x": "invoice.owner.id"}, "x", "invoice.owner.id", "owner", "is absent"),
        ({"x": "invoice.lines.2"}, "x", "invoice.lines.2", "2", "is beyond the end of the list"),
        (
            {"x": "invoice.lines.first"},
            "x",
            "invoice.lines.first",
            "first",
            "is not an index, but a list was found",
        ),
        (
            {"x": "invoice.lines.-1"},
            "x",
            "invoice.lines.-1",
            "-1",
            "is not an index, but a list was found",
        ),
        (
            {"x": "account_id.id"},
            "x",
            "account_id.id",
            "id",
            "was looked for in a value of type str",
        ),
        (
            {"x": "invoice.note.by"},
            "x",
            "invoice.note.by",
            "by",
            "was looked for in a value of type null",
        ),
        ({"x": "a.b"}, "x", "a.b", "a", "is absent"),
    ],
)
def test_a_missing_input_names_target_path_and_segment(chosen, target, path, segment, reason):
    with pytest.raises(MissingInput) as caught:
        choose(chosen)

    assert caught.value.args == (target, path, segment, reason)
    for part in (target, path, segment):
        assert repr(part) in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # our own


@given(st.dictionaries(st.text(), st.integers()), st.dictionaries(st.text(), st.integers()))
def test_a_listed_selection_is_part_of_what_is_visible(payload, context):
    state = visible(payload, context)
    keys = tuple(state)[::2]

    assert select(StepSpec("s", "step", input=keys), state).items() <= state.items()


def test_parameters_are_filled_by_name():
    def function(b, a, *, c):
        return a, b, c

    assert call(function, {"a": 1, "b": 2, "c": 3, "unused": 4}) == (1, 2, 3)


def test_a_parameter_called_context_gets_the_context_object():
    def function(context, a):
        return context, a

    assert call(function, {"a": 1, "context": "data"}) == ("the context", 1)


def test_defaults_are_kept_for_what_is_absent():
    def function(a, b="default", *, c="other"):
        return a, b, c

    assert call(function, {"a": 1}) == (1, "default", "other")
    assert call(function, {"a": 1, "b": None, "c": 0}) == (1, None, 0)


def test_a_catch_all_takes_everything_not_taken_yet():
    def function(a, context, **inputs):
        return a, context, inputs

    assert call(function, {"a": 1, "b": 2, "not an identifier": 3, "context": 4}) == (
        1,
        "the context",
        {"b": 2, "not an identifier": 3},
    )


def test_positional_only_parameters_are_filled_too():
    def function(a, context, b="default", c="other", /, *more, d, **inputs):
        return a, context, b, c, more, d, inputs

    assert call(function, {"a": 1, "c": 3, "d": 4, "e": 5}) == (
        1,
        "the context",
        "default",
        3,
        (),
        4,
        {"e": 5},
    )


def test_an_absent_required_parameter_is_a_missing_input():
    with pytest.raises(MissingInput, match="input 'a' is missing: 'a' is a required parameter"):
        call(lambda a: a, {"b": 1})


def test_annotations_are_not_evaluated():
    def function(a: Nothing) -> Nothing:
        return a

    assert call(function, {"a": 1}) == 1


def test_wrapped_partial_and_bound_functions_are_functions():
    def function(a, b):
        return a, b

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    class Service:
        def method(self, a, b):
            return a, b

    for each in (wrapped, functools.partial(function, b=2), Service().method):
        assert call(each, {"a": 1, "b": 2}) == (1, 2)


NAMES = st.lists(st.sampled_from("abcdef"), unique=True)


@given(NAMES, NAMES, st.booleans())
def test_every_call_is_well_formed_or_names_what_is_missing(taken, given_, everything):
    written = ", ".join([*taken, *(["**inputs"] if everything else [])])
    namespace: dict[str, Any] = {}
    exec(f"def function({written}): return dict(locals())", namespace)  # noqa: S102  # any shape
    inputs = {name: name.upper() for name in given_}

    missing = [name for name in taken if name not in given_]

    if missing:
        with pytest.raises(MissingInput) as caught:
            call(namespace["function"], inputs)
        assert caught.value.target == missing[0]
    else:
        seen = call(namespace["function"], inputs)
        rest = {name: value for name, value in inputs.items() if name not in taken}
        assert seen.pop("inputs", rest) == rest
        assert seen == {name: inputs[name] for name in taken}

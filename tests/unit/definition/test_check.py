"""Every rule of declaration, with the code it is reported under."""

from __future__ import annotations

import enum
import pickle
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

from flask_squidmesh.definition.declarations import (
    Retry,
    approval,
    complete,
    cron,
    exponential,
    fixed,
    log,
    manual,
    pause,
    step,
    transition,
    wait,
)
from flask_squidmesh.definition.spec import RetrySpec
from flask_squidmesh.definition.workflow import Workflow, WorkflowType
from flask_squidmesh.exceptions import WorkflowDefinitionError


def work() -> None: ...


async def async_work() -> None: ...


def generate():
    yield 1


def of_class(cls): ...


class Colour(enum.Enum):
    RED = 1


class Size(enum.Enum):
    BIG = 1


class Word(fields.String):
    """A field of the application's own."""


class Needy(Schema):
    def __init__(self, colour):
        super().__init__()


STRANGER = step(work)


def problems(**body: Any) -> list[tuple[str, str]]:
    """Return (path, code) of what is wrong with a class of this body."""
    try:
        WorkflowType("Flow", (Workflow,), dict(body))
    except WorkflowDefinitionError as error:
        return [(problem.path, problem.code) for problem in error.problems]
    return []


def problems_of_step(declared: Any, **more: Any) -> list[tuple[str, str]]:
    """Return the same for a workflow that has only this step."""
    return problems(start=manual(), one=declared, transitions=[declared >> complete], **more)


def problems_of_trigger(trigger: Any, **more: Any) -> list[tuple[str, str]]:
    only = step(work)
    return problems(start=trigger, one=only, transitions=[only >> complete], **more)


def test_a_correct_workflow_has_no_problems():
    assert problems_of_step(step(work)) == []


def test_all_problems_are_reported_at_once_in_order():
    one, two = wait(seconds=-1), log("", "loud")  # type: ignore[arg-type]  # the point

    with pytest.raises(WorkflowDefinitionError) as caught:
        WorkflowType("Flow", (Workflow,), {"one": one, "two": two, "transitions": [one >> two]})

    assert str(caught.value).startswith("workflow validation failed: Flow\n- Flow: no trigger")
    assert [(p.path, p.code) for p in caught.value.problems] == [
        ("Flow", "no_trigger"),
        ("Flow.one", "invalid_wait"),
        ("Flow.two.message", "invalid_message"),
        ("Flow.two.level", "unknown_level"),
        ("Flow.two", "no_ok_route"),
    ]
    assert str(caught.value).count("\n- ") == 5
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems  # noqa: S301  # our own


@pytest.mark.parametrize("name", ["", "  ", "a/b", "x" * 256, 7])
def test_a_name_is_text_that_fits_a_url(name):
    assert problems_of_step(step(work), name=name) == [("Flow.name", "invalid_name")]


@pytest.mark.parametrize("version", ["", 7, 1.5, "x" * 256])
def test_a_version_is_a_label(version):
    assert problems_of_step(step(work), version=version) == [("Flow.version", "invalid_version")]


def test_a_workflow_has_a_trigger_and_a_step():
    assert problems() == [("Flow", "no_trigger"), ("Flow", "no_step")]


def test_a_step_has_a_name_that_fits_the_database():
    long = step(work)

    assert problems(start=manual(), **{"x" * 256: long}, transitions=[long >> complete]) == [
        (f"Flow.{'x' * 256}", "invalid_name")
    ]


@pytest.mark.parametrize("name", ["name", "version", "definition", "complete", "_own", "__own"])
def test_reserved_names_are_refused(name):
    declared = step(work)

    assert problems(start=manual(), **{name: declared}, transitions=[declared >> complete]) == [
        (f"Flow.{name}", "reserved_name")
    ]


def test_a_step_can_not_be_called_transitions():
    codes = problems(start=manual(), transitions=step(work))

    assert ("Flow.transitions", "reserved_name") in codes


@pytest.mark.parametrize("name", ["definition", "complete"])
def test_reserved_names_are_refused_for_anything_else_too(name):
    assert problems_of_step(step(work), **{name: 5}) == [(f"Flow.{name}", "reserved_name")]


def test_a_name_bound_twice_is_reported():
    with pytest.raises(WorkflowDefinitionError) as caught:

        class Twice(Workflow):
            start = manual()
            one = step(work)
            one = step(work)  # noqa: PIE794  # the point
            two = 1
            two = step(work)  # type: ignore[assignment]  # noqa: PIE794  # the point
            three = step(work)
            three = 1  # type: ignore[assignment]  # noqa: PIE794  # the point
            limit = 1
            limit = 2  # noqa: PIE794  # no declaration, no matter
            transitions = (one >> two >> complete,)  # type: ignore[operator]  # the point

    assert [(p.path, p.code) for p in caught.value.problems] == [
        ("Twice.one", "name_bound_twice"),
        ("Twice.two", "name_bound_twice"),
        ("Twice.three", "name_bound_twice"),
    ]


def test_one_declaration_has_one_name():
    one = step(work)

    codes = problems(start=manual(), one=one, other=one, transitions=[one >> complete])

    assert ("Flow.other", "declared_twice") in codes


# Triggers


@pytest.mark.parametrize("field", [str, "String", None, fields.Date])
def test_a_payload_field_is_a_marshmallow_field(field):
    assert problems_of_trigger(manual(day=field)) == [("Flow.start.day", "invalid_field")]


def test_a_payload_field_may_be_called_schema():
    assert problems_of_trigger(manual(schema=fields.String())) == []


@pytest.mark.parametrize("schema", [5, "Schema", dict, Needy, Schema(many=True)])
def test_a_payload_schema_is_a_marshmallow_schema(schema):
    assert problems_of_trigger(manual(schema=schema)) == [("Flow.start.schema", "invalid_schema")]


def test_a_schema_and_fields_exclude_each_other():
    assert problems_of_trigger(manual(schema=Schema, day=fields.Date())) == [
        ("Flow.start.schema", "fields_beside_schema")
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "61 * * * *",
        "0 0 31 2 *",
        "* * * * * *",
        "@reboot",
        "daily",
        f"{'0,' * 130}1 * * * *",
        None,
        5,
    ],
)
def test_a_cron_expression_is_checked(expression):
    assert problems_of_trigger(cron(expression)) == [("Flow.start.expression", "invalid_cron")]


@pytest.mark.parametrize("zone", ["Mars/One", "", "../etc/passwd", "Europe", None, 5, "\0"])
def test_a_time_zone_is_checked(zone):
    assert problems_of_trigger(cron("@daily", timezone=zone)) == [
        ("Flow.start.timezone", "unknown_timezone")
    ]


@pytest.mark.parametrize("catch_up", ["some", None, [], True])
def test_catch_up_is_one_of_three(catch_up):
    assert problems_of_trigger(cron("@daily", catch_up=catch_up)) == [
        ("Flow.start.catch_up", "invalid_catch_up")
    ]


def test_a_cron_trigger_has_no_required_field():
    trigger = cron("@daily", day=fields.Date(required=True), note=fields.String())

    assert problems_of_trigger(trigger) == [("Flow.start.day", "required_without_default")]


@pytest.mark.parametrize(
    "field",
    [
        fields.Integer(load_default="many"),
        fields.Integer(load_default=5, validate=validate.Range(max=3)),
        fields.String(load_default=5),
        fields.Url(load_default="nowhere"),
        fields.Boolean(load_default="perhaps"),
        fields.String(load_default=None, allow_none=False),
        fields.DateTime(load_default=5.5j),
        fields.List(fields.Integer(), load_default=["x"]),
        fields.Raw(load_default=object()),
        fields.Float(load_default=float("nan")),
    ],
)
def test_a_default_its_own_field_refuses_is_reported(field):
    assert problems_of_trigger(manual(value=field)) == [("Flow.start.value", "refused_default")]


@pytest.mark.parametrize(
    "field",
    [
        fields.Integer(load_default=3),
        fields.Integer(load_default=lambda: "never called"),
        fields.String(load_default=None),
        fields.DateTime(load_default="2026-01-01T00:00:00"),
        fields.TimeDelta(load_default=timedelta(seconds=1.5)),
        fields.Date(load_default=__import__("datetime").date(2026, 1, 1)),
        fields.List(fields.Integer(), load_default=[1]),
        fields.Nested("ImportedLater", load_default={"a": 1}),
        fields.Nested(Schema.from_dict({"a": fields.Integer()}), load_default={"a": 1}),
    ],
)
def test_a_default_is_written_as_the_payload_or_as_the_loaded_value(field):
    assert problems_of_trigger(manual(value=field)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (fields.String(), fields.Integer()),
        (fields.List(fields.String()), fields.List(fields.Integer())),
        (fields.Nested(Schema), fields.Nested("Other")),
        (fields.Nested(Schema), fields.Nested(Schema, many=True)),
        (fields.Enum(Colour), fields.Enum(Size)),
        (fields.String(), Word()),
    ],
)
def test_payload_fields_of_one_name_have_one_type(one, other):
    codes = problems_of_trigger(manual(value=one), again=cron("@daily", value=other))

    assert codes == [("Flow.again.value", "conflicting_field")]


# Steps


class Opaque:
    __signature__ = "nobody knows"

    def __call__(self): ...


@pytest.mark.parametrize(
    "function", [5, "text", STRANGER, async_work, generate, classmethod(of_class), Opaque()]
)
def test_a_step_runs_an_ordinary_function(function):
    assert problems_of_step(step(function)) == [("Flow.one.function", "invalid_function")]


@pytest.mark.parametrize("schema", [5, "Schema", dict, Needy])
def test_step_schemas_are_marshmallow_schemas(schema):
    assert problems_of_step(step(work, input_schema=schema, output_schema=schema)) == [
        ("Flow.one.input_schema", "invalid_schema"),
        ("Flow.one.output_schema", "invalid_schema"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        [],
        {},
        "account",
        5,
        [5],
        [""],
        ["a", "a"],
        [[]],
        {"a": ""},
        {"a": "b..c"},
        {"a": ".b"},
        {"a": 5},
        {5: "a"},
        {"": "a"},
        {"a"},
    ],
)
def test_a_malformed_input_is_reported(written):
    assert problems_of_step(step(work, input=written)) == [("Flow.one.input", "invalid_input")]


@pytest.mark.parametrize("output", ["", " ", 5, ["a"], True])
def test_an_output_is_a_key(output):
    assert problems_of_step(step(work, output=output)) == [("Flow.one.output", "invalid_output")]


@pytest.mark.parametrize("option", ["transaction", "at_most_once"])
@pytest.mark.parametrize("value", [None, 1, "no"])
def test_switches_are_booleans(option, value):
    assert problems_of_step(step(work, **{option: value})) == [
        (f"Flow.one.{option}", "invalid_option")
    ]


@pytest.mark.parametrize(
    "declared",
    [
        wait(),
        wait(seconds=0),
        wait(seconds=-1),
        wait(seconds=float("nan")),
        wait(seconds=float("inf")),
        wait(seconds=10**400),
        wait(seconds="5"),  # type: ignore[arg-type]  # the point
        wait(seconds=True),
        wait(5),  # type: ignore[arg-type]  # the point
        wait(timedelta(0)),
        wait(timedelta.max),
        wait(timedelta(1), seconds=1),
    ],
)
def test_a_wait_has_a_positive_duration(declared):
    assert problems_of_step(declared) == [("Flow.one", "invalid_wait")]


@pytest.mark.parametrize("message", ["", " \n", None, 5])
def test_a_log_has_a_message(message):
    assert problems_of_step(log(message)) == [("Flow.one.message", "invalid_message")]


@pytest.mark.parametrize("level", ["loud", "INFO", None, 20, []])
def test_a_log_has_a_known_level(level):
    assert problems_of_step(log("done", level)) == [("Flow.one.level", "unknown_level")]


@pytest.mark.parametrize("retry", [3, fixed(1), {"max_attempts": 3}, True])
def test_a_retry_is_a_policy(retry):
    assert problems_of_step(step(work, retry=retry)) == [("Flow.one.retry", "invalid_retry")]


@pytest.mark.parametrize("attempts", [0, -1, 1.5, "3", None, True])
def test_a_policy_has_at_least_one_attempt(attempts):
    assert problems_of_step(step(work, retry=Retry(attempts))) == [
        ("Flow.one.retry.max_attempts", "invalid_max_attempts")
    ]


@pytest.mark.parametrize(
    "backoff",
    [
        exponential(0, 5),
        exponential(-1, 5),
        exponential(5, 1),
        exponential(1, float("inf")),
        exponential(1, float("nan")),
        exponential("1", "5"),  # type: ignore[arg-type]  # the point
        exponential(1, 5, factor=0.5),
        exponential(1, 5, jitter=2),
        exponential(1, 5, jitter=-0.1),
        fixed(0),
        fixed(-1),
        fixed(None),  # type: ignore[arg-type]  # the point
        5,
    ],
)
def test_a_backoff_is_bounded_and_grows(backoff):
    assert problems_of_step(step(work, retry=RetrySpec(3, backoff))) == [
        ("Flow.one.retry.backoff", "invalid_backoff")
    ]


# Transitions


@pytest.mark.parametrize("transitions", [5, {}, "abc", step(work) >> complete])
def test_transitions_are_a_list(transitions):
    codes = problems(start=manual(), one=step(work), transitions=transitions)

    assert codes == [("Flow.one", "no_ok_route"), ("Flow.transitions", "invalid_transitions")]


@pytest.mark.parametrize("entry", [5, "one", None, STRANGER, complete, work, [], {}])
def test_an_entry_of_transitions_is_a_transition(entry):
    one = step(work)

    codes = problems(start=manual(), one=one, transitions=[one >> complete, entry])

    assert codes == [("Flow.transitions.1", "invalid_transition")]


@pytest.mark.parametrize("source", [5, "one", None, STRANGER, complete, work, [], {}, manual()])
def test_a_transition_starts_at_a_step_of_the_class(source):
    one = step(work)

    codes = problems(start=manual(), one=one, transitions=[source >> one >> complete])

    assert codes == [("Flow.transitions", "unknown_source")]


def test_a_whole_chain_starts_at_a_step_too():
    one: Any = step(work)

    codes = problems(start=manual(), one=one, transitions=[5 >> (one >> complete)])

    assert codes == [("Flow.transitions", "unknown_source")]


def test_nothing_comes_after_complete():
    one, end = step(work), cast(Any, complete)

    codes = problems(start=manual(), one=one, transitions=[one >> complete, end >> end, 5 >> end])

    assert codes == [("Flow.transitions", "unknown_source")] * 2


@pytest.mark.parametrize("target", [5, "one", None, STRANGER, work, [], {}, manual()])
def test_a_transition_leads_to_a_step_of_the_class(target):
    one = step(work)

    codes = problems(start=manual(), one=one, transitions=[one >> complete, one.on_error(target)])

    assert codes == [("Flow.transitions.one", "unknown_target")]


@pytest.mark.parametrize("outcome", ["maybe", "OK", None, 5, []])
def test_an_outcome_is_ok_or_error(outcome):
    one = step(work)

    codes = problems(
        start=manual(),
        one=one,
        transitions=[one >> complete, transition(one, on=outcome, to=complete)],
    )

    assert codes == [("Flow.transitions.one", "unknown_outcome")]


def test_an_outcome_of_a_step_has_one_transition():
    one, two = step(work), step(work)

    codes = problems(
        start=manual(), one=one, two=two, transitions=[one >> two >> complete, one >> two]
    )

    assert codes == [("Flow.transitions.one", "duplicate_route")]


def test_a_step_leads_somewhere_when_it_succeeds():
    one = step(work)

    assert problems(start=manual(), one=one) == [("Flow.one", "no_ok_route")]
    assert problems(start=manual(), one=one, transitions=[one.on_error(complete)]) == [
        ("Flow.one", "no_ok_route")
    ]


def test_an_approval_has_both_routes():
    one = approval()

    assert problems(start=manual(), one=one, transitions=[one >> complete]) == [
        ("Flow.one", "approval_routes")
    ]
    assert problems(start=manual(), one=one, transitions=[one.on_error(complete)]) == [
        ("Flow.one", "approval_routes")
    ]


def test_a_run_starts_at_exactly_one_step():
    one, two = step(work), step(work)

    codes = problems(
        start=manual(), one=one, two=two, transitions=[one >> complete, two >> complete]
    )

    assert codes == [("Flow.transitions", "entry_step")]


def test_every_step_can_be_reached():
    one, two, three = step(work), step(work), step(work)

    codes = problems(
        start=manual(),
        one=one,
        two=two,
        three=three,
        transitions=[one >> complete, two >> three >> two],
    )

    assert codes == [("Flow.two", "unreachable_step"), ("Flow.three", "unreachable_step")]


# Dependencies


def problems_after(after: Any, **more: Any) -> list[tuple[str, str]]:
    return problems(start=manual(), one=step(work), two=step(work, after=after), **more)


@pytest.mark.parametrize("after", [[], (), "one", 5, {}, STRANGER, ["one", "one"]])
def test_a_malformed_after_is_reported(after):
    assert problems_after(after) == [("Flow.two.after", "invalid_after")]


@pytest.mark.parametrize("reference", ["nobody", "start", 5, None, STRANGER, [], {}, complete])
def test_a_dependency_is_a_step_of_the_class(reference):
    assert problems_after(["one", reference]) == [("Flow.two.after", "unknown_dependency")]


def test_a_step_does_not_wait_for_itself():
    assert problems_after(["two"]) == [("Flow.two.after", "self_dependency")]


def test_a_cycle_is_reported_once():
    codes = problems(
        start=manual(),
        one=step(work, after=["three"]),
        two=step(work, after=["one"]),
        three=step(work, after=["two"]),
        four=step(work, after=["three"]),
    )

    assert codes == [("Flow.one.after", "dependency_cycle")]


def test_a_long_chain_of_dependencies_is_checked_without_recursion():
    steps = {f"s{n}": step(work, after=[f"s{n + 1}"]) for n in range(3000)}

    assert problems(start=manual(), **steps, s3000=step(work)) == []


@pytest.mark.parametrize(
    ("declared", "code"),
    [(pause(), "pause_in_dependencies"), (approval(), "approval_in_dependencies")],
)
def test_nobody_decides_in_a_dependency_workflow(declared, code):
    assert problems_after(["one"], three=declared) == [("Flow.three", code)]


def test_dependencies_and_transitions_exclude_each_other():
    one = step(work)

    codes = problems(
        start=manual(), one=one, two=step(work, after=[one]), transitions=[one >> complete]
    )

    assert codes == [("Flow.transitions", "mixed_modes")]


# Whatever was written

GARBAGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([STRANGER, complete, work, Schema, fields.String(), manual(), object()]),
)


OPTIONS = (
    "input",
    "output",
    "retry",
    "after",
    "input_schema",
    "output_schema",
    "transaction",
    "at_most_once",
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(OPTIONS, GARBAGE)),
    st.lists(GARBAGE, min_size=4, max_size=4),
)
def test_the_checker_never_crashes(options: Mapping[str, Any], garbage: list[Any]):
    a, b, c, d = garbage
    outcome: Any = a
    one = step(a if callable(a) else work, **options)
    transitions = [one >> c, d, transition(one, on=outcome, to=b), a] if isinstance(a, str) else d

    found = problems(
        name=a,
        version=b,
        start=manual(field=c, schema=d),
        tick=cron(a, b, c, d, field=d),
        one=one,
        rest=wait(a, seconds=b, after=c),
        say=log(a, b, after=d),
        decide=approval(a, after=b),
        transitions=transitions,
    )

    assert found

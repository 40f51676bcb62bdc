"""What a step function is given, and what becomes of what it returns."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from flask import current_app
from marshmallow import Schema, fields

from flask_squidmesh import Retry, StepContext, Workflow, complete, log, manual, step
from tests.contract.host import attempts, path, single, step_run, step_state


def pair(first_function, second_function, **options):
    """Return a workflow of two steps with the payload `a` and `b`; the options are the second's."""

    class Pair(Workflow):
        go = manual(a=fields.Raw(), b=fields.Raw())
        first = step(first_function)
        second = step(second_function, **options)
        transitions = [first >> second >> complete]

    return Pair


def error_of(run, name="work"):
    error = dict(step_state(run, name).last_error or {})
    return error.get("code"), error.get("message")


def test_parameters_are_filled_by_name(world, seen):
    flow = pair(lambda b, a: seen.append((a, b)), lambda: None)
    world.run(flow, {"a": 1, "b": [2]})
    assert seen == [(1, [2])]


def test_parameter_with_a_default_may_be_absent(world, seen):
    world.run(pair(lambda a="none": seen.append(a), lambda: None))
    assert seen == ["none"]


def test_step_that_changes_its_input_changes_nobody_elses(world, seen):
    def first(a, context):
        a["list"].append("changed")
        context.payload["b"].append("changed")
        context.state["a"]["more"] = "changed"
        return {"out": [1]}

    def second(a, b, out, context):
        out.append("changed")
        seen.append((a, b, context.payload, context.state))

    given = {"a": {"list": []}, "b": []}
    run = world.run(pair(first, second), given)
    assert seen == [(given["a"], [], given, {**given, "out": [1]})]
    assert run.context == {"out": [1]}
    assert step_run(run, "second").input == {**given, "out": [1]}


def test_inputs_take_everything_that_is_not_named(world, seen):
    def first(a, **inputs):
        seen.append((a, inputs))

    world.run(pair(first, lambda: None), {"a": 1, "b": 2})
    assert seen == [(1, {"b": 2})]


def test_parameter_context_gets_the_step_context(world, seen):
    class Named(Workflow):
        first_trigger = manual()
        other = manual(a=fields.Integer())
        work = step(lambda context: seen.append(context), retry=Retry(2))  # noqa: PLW0108  # filled by name
        transitions = [work >> complete]

    run = world.go(world.start(Named, {"a": 1}, trigger="other"))
    (context,) = seen
    assert isinstance(context, StepContext)
    assert (context.run_id, context.workflow, context.trigger) == (run.id, "named", "other")
    assert (context.step, context.attempt) == ("work", 1)
    assert (context.payload, context.state) == ({"a": 1}, {"a": 1})
    assert (context.failure, context.schedule) == (None, None)


def test_context_knows_whether_the_run_is_cancelled(world, seen):
    def work(context):
        seen.append(context.cancelled)
        world.squidmesh.cancel_run(context.run_id)
        seen.append(context.cancelled)

    world.run(single(work))
    assert seen == [False, True]


def test_heartbeat_says_that_the_lease_is_held(world, seen):
    world.run(single(lambda context: seen.append(context.heartbeat())))
    assert seen == [True]


def test_idempotency_key_is_stable_over_retries_and_differs_by_step_and_run(world, seen):
    def fail_once(context):
        seen.append((context.step, context.idempotency_key))
        if context.attempt == 1:
            raise OSError

    flow = pair(fail_once, fail_once, retry=Retry(2))
    flow_of_retries = single(fail_once, retry=Retry(2))
    world.run(flow_of_retries)
    world.run(flow_of_retries)
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert seen[0] != seen[2]
    seen.clear()
    world.run(flow)
    assert len({key for _, key in seen}) == 1


def test_step_runs_in_the_application_context(world, seen):
    world.run(single(lambda: seen.append(current_app.name)))
    assert seen == ["tests.contract"]


def test_decorated_function_is_a_step(world, seen):
    class Decorated(Workflow):
        go = manual()

        @step
        def plain():
            seen.append("plain")

        @step(output="kept")
        def with_options():
            return "kept"

        transitions = [plain >> with_options >> complete]

    assert world.run(Decorated).context == {"kept": "kept"}
    assert seen == ["plain"]


def test_context_wins_over_the_payload(world, seen):
    run = world.run(
        pair(lambda: {"a": "context"}, lambda a, b: seen.append((a, b))), {"a": 1, "b": 2}
    )
    assert seen == [("context", 2)]
    assert (run.payload, run.context) == ({"a": 1, "b": 2}, {"a": "context"})


def test_absent_required_parameter_fails_the_step_without_running_it(world, seen):
    def work(nobody_knows):
        seen.append(1)

    run = world.run(single(work, retry=Retry(5)))
    assert (run.status, seen) == ("failed", [])
    assert attempts(run, "work") == [(1, "failed")]
    code, message = error_of(run)
    assert code == "missing_input"
    assert "nobody_knows" in message


def test_input_list_narrows_what_is_seen(world, seen):
    world.run(
        pair(lambda: None, lambda **inputs: seen.append(inputs), input=["b"]), {"a": 1, "b": 2}
    )
    assert seen == [{"b": 2}]


def test_absent_key_of_the_input_list_is_missing_input(world, seen):
    flow = pair(lambda: None, lambda **inputs: seen.append(inputs), input=["a", "b"])
    run = world.run(flow, {"a": 1})
    code, message = error_of(run, "second")
    assert (run.status, code, seen) == ("failed", "missing_input", [])
    assert "'b'" in message


def test_input_paths_build_new_names(world, seen):
    flow = pair(
        lambda: {"invoice": {"lines": [{"id": 7}]}},
        lambda line, whole: seen.append((line, whole)),
        input={"line": "invoice.lines.0.id", "whole": "a"},
    )
    run = world.run(flow, {"a": "x"})
    assert seen == [(7, "x")]
    assert step_run(run, "second").input == {"line": 7, "whole": "x"}


def test_missing_path_names_target_path_and_segment(world):
    flow = pair(
        lambda: {"invoice": {"id": 1}}, lambda **_: None, input={"account": "invoice.account.id"}
    )
    code, message = error_of(world.run(flow), "second")
    assert code == "missing_input"
    for named in ("'account'", "'invoice.account.id'"):
        assert named in message


def test_outputs_are_merged_shallowly(world):
    flow = pair(lambda: {"x": {"one": 1}, "y": 1}, lambda: {"x": {"two": 2}})
    assert world.run(flow).context == {"x": {"two": 2}, "y": 1}


def test_nothing_returned_adds_nothing(world):
    assert world.run(single(lambda: None)).context == {}


@pytest.mark.parametrize("value", [None, False, 1, 1.5, "text", [1, [2]], {"a": None}])
def test_output_key_keeps_any_json_value(world, value):
    run = world.run(single(lambda: value, output="kept"))
    assert run.context == {"kept": value}
    assert step_run(run, "work").output == value


@pytest.mark.parametrize("value", [1, "text", [1], False])
def test_value_that_is_not_a_mapping_needs_an_output_key(world, value):
    run = world.run(single(lambda: value))
    assert (run.status, run.context, error_of(run)[0]) == ("failed", {}, "invalid_output")


@pytest.mark.parametrize("value", [{"a": {1, 2}}, {"a": object()}, {1: "a"}, {"a": float("nan")}])
def test_what_is_not_json_fails_the_step_and_is_not_retried(world, value):
    run = world.run(single(lambda: value, retry=Retry(5)))
    assert (run.status, run.context, error_of(run)[0]) == ("failed", {}, "invalid_output")
    assert attempts(run, "work") == [(1, "failed")]


def test_types_beyond_json_are_encoded_in_one_way(world):
    class Colour(Enum):
        RED = "red"

    @dataclass
    class Money:
        amount: Decimal

    value = {
        "date": date(2026, 11, 2),
        "datetime": datetime(2026, 11, 2, 12, tzinfo=UTC),
        "uuid": UUID(int=1),
        "enum": Colour.RED,
        "dataclass": Money(Decimal("1.50")),
        "tuple": (1, 2),
    }
    assert world.run(single(lambda: value)).context == {
        "date": "2026-11-02",
        "datetime": "2026-11-02T12:00:00+00:00",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "enum": "red",
        "dataclass": {"amount": "1.50"},
        "tuple": [1, 2],
    }


def test_input_schema_loads_what_the_step_sees(world, seen):
    class Wanted(Schema):
        a = fields.Integer(required=True)

    flow = pair(lambda: None, lambda a: seen.append(a), input=["a"], input_schema=Wanted)  # noqa: PLW0108  # filled by name
    world.run(flow, {"a": "7"})
    assert seen == [7]


def test_input_that_breaks_its_schema_is_not_retried(world, seen):
    class Wanted(Schema):
        a = fields.Integer(required=True)

    flow = pair(
        lambda: None,
        lambda a: seen.append(a),  # noqa: PLW0108  # filled by name
        input=["a"],
        input_schema=Wanted,
        retry=Retry(3),
    )
    run = world.run(flow, {"a": "seven"})
    assert (run.status, seen, attempts(run, "second")) == ("failed", [], [(1, "failed")])
    error = step_state(run, "second").last_error
    assert error is not None
    assert (error["code"], error["retryable"]) == ("invalid_input", False)
    assert error["details"] == {"a": ["Not a valid integer."]}


def test_output_that_breaks_its_schema_is_not_retried(world):
    class Promised(Schema):
        total = fields.Integer(required=True)

    run = world.run(single(lambda: {"sum": 1}, output_schema=Promised(), retry=Retry(3)))
    assert (run.status, run.context, error_of(run)[0]) == ("failed", {}, "invalid_output")
    assert attempts(run, "work") == [(1, "failed")]


def test_output_schema_shapes_the_output(world):
    class Promised(Schema):
        total = fields.Integer(required=True)

    assert world.run(single(lambda: {"total": "3"}, output_schema=Promised)).context == {"total": 3}


def test_output_that_is_too_large_fails_the_step(open_world):
    world = open_world(SQUIDMESH_MAX_DOCUMENT_BYTES=100)
    run = world.run(single(lambda: {"text": "x" * 100}, retry=Retry(3)))
    assert (run.status, error_of(run)[0]) == ("failed", "document_too_large")
    assert attempts(run, "work") == [(1, "failed")]


def test_context_that_grows_too_large_fails_the_step_that_outgrew_it(open_world):
    world = open_world(SQUIDMESH_MAX_DOCUMENT_BYTES=100)
    run = world.run(pair(lambda: {"x": "x" * 60}, lambda: {"y": "y" * 60}))
    assert (run.status, run.current_step) == ("failed", "second")
    assert error_of(run, "second")[0] == "document_too_large"


def test_outputs_that_replace_each_other_do_not_add_up(open_world):
    world = open_world(SQUIDMESH_MAX_DOCUMENT_BYTES=100)
    assert world.run(pair(lambda: {"x": "x" * 60}, lambda: {"x": "y" * 60})).status == "completed"


def test_log_writes_its_message_at_its_level_and_records_an_attempt(world, caplog):
    class Logged(Workflow):
        go = manual()
        announce = log("Invoice loaded", level="warning")
        transitions = [announce >> complete]

    with caplog.at_level(logging.INFO):
        run = world.run(Logged)
    assert ("WARNING", "Invoice loaded") in [(r.levelname, r.getMessage()) for r in caplog.records]
    assert (run.status, path(run)) == ("completed", ["announce"])
    assert attempts(run, "announce") == [(1, "completed")]


def test_changing_what_a_step_sees_changes_nothing_else(world, seen):
    def spoil(a, context):
        a.append("spoiled")
        context.payload["a"] = "spoiled"

    run = world.run(pair(spoil, lambda a: seen.append(a)), {"a": [1]})  # noqa: PLW0108  # filled by name
    assert run.payload == {"a": [1]}
    assert seen == [[1]]

"""Payloads nobody meant to send: kept exactly, or refused with nothing stored."""

from __future__ import annotations

import json
import math

import pytest
from marshmallow import fields

from flask_squidmesh import (
    DocumentTooLarge,
    InvalidDecision,
    InvalidRunId,
    PayloadError,
    UnknownTrigger,
    UnknownWorkflow,
    Workflow,
    approval,
    complete,
    manual,
    pause,
    step,
)
from flask_squidmesh.definition.documents import MAX_DEPTH


class Echo(Workflow):
    """Returns what it was given."""

    go = manual(value=fields.Raw(required=True, allow_none=True))
    work = step(lambda value: value, output="echo")
    transitions = [work >> complete]


def nest(levels: int, *, kind: type = list) -> object:
    value: object = "innermost"
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def endless() -> dict[str, object]:
    value: dict[str, object] = {}
    value["self"] = value
    return value


KEPT = {
    "NUL": "a\x00b",
    "key with NUL": {"\x00": "\x00"},
    "lone surrogates": "\ud800 \udfff",
    "keys like a prototype": {"__proto__": {}, "constructor": 1, "": 2},
    "markup": "<script>alert(1)</script>{{ 7 * 7 }}${7*7}%s%(a)s'; DROP TABLE runs; --",
    "integer beyond 64 bits": 2**64,
    "negative integer beyond 64 bits": -(2**1000),
    "smallest float": 5e-324,
    "largest float": 1.7976931348623157e308,
    "minus zero": -0.0,
    "deep lists": nest(MAX_DEPTH - 2),
    "deep mappings": nest(MAX_DEPTH - 2, kind=dict),
    "many keys": {str(n): n for n in range(10_000)},
    "nothing": None,
    "every plane": "\u0007\u2028\ufeff\U0001f991\U0010ffff",
}


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT.keys())
def test_whatever_is_json_arrives_as_it_was_sent(world, value):
    run = world.run(Echo, {"value": value})
    assert run.status == "completed", run.last_error
    assert json.dumps(run.context["echo"]) == json.dumps(value)
    assert json.dumps(run.payload["value"]) == json.dumps(value)


REFUSED = {
    "NaN": math.nan,
    "infinity": -math.inf,
    "nested too deep": nest(MAX_DEPTH + 1),
    "nested beyond the stack": nest(100_000),
    "itself": endless(),
    "bytes": b"\xff",
    "set": {1},
    "key that is no text": {1: 2},
    "key that is a tuple": {(1, 2): 3},
    "object": object(),
    "integer that cannot be printed": 10**100_000,
}


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_json_is_refused_and_nothing_is_stored(world, value, key):
    with pytest.raises(PayloadError) as refused:
        world.start(Echo, {"value": value}, idempotency_key=key)
    assert refused.value.messages
    assert world.count_runs() == 0


@pytest.mark.parametrize(
    "payload",
    [[], "text", 1, object(), {"value": 1, "more": 2}, {1: 2}, {"value": 1, "\x00": 2}, {None: 1}],
)
def test_payload_that_is_no_mapping_of_the_known_fields_is_refused(world, payload):
    with pytest.raises(PayloadError):
        world.start(Echo, payload)
    assert world.count_runs() == 0


@pytest.mark.parametrize("size", [2**20, 2**26])
def test_enormous_payload_is_refused_and_nothing_is_stored(world, size):
    with pytest.raises(DocumentTooLarge):
        world.start(Echo, {"value": "x" * size})
    assert world.count_runs() == 0


KEYS = ["", "a\x00b", "x" * 256, 5, b"key", ["key"]]


@pytest.mark.parametrize("key", KEYS)
def test_key_that_is_none_is_refused(world, key):
    with pytest.raises(ValueError, match="idempotency key"):
        world.start(Echo, {"value": 1}, idempotency_key=key)
    assert world.count_runs() == 0


def test_key_with_lone_surrogates_is_refused_or_kept(world):
    """PostgreSQL can not store it in a text column, so it must not get there."""
    try:
        run_id = world.start(Echo, {"value": 1}, idempotency_key="\ud800")
    except ValueError:
        assert world.count_runs() == 0
    else:
        assert world.start(Echo, {"value": 1}, idempotency_key="\ud800") == run_id


IDS = ["", "x", "\x00", "\ud800", "0" * 100_000, "'; DROP TABLE squidmesh_runs", "../../etc"]


@pytest.mark.parametrize("run_id", IDS, ids=lambda text: ascii(text[:10]))
def test_hostile_run_ids_are_refused(world, run_id):
    for call in (
        world.squidmesh.inspect_run,
        world.squidmesh.cancel_run,
        world.squidmesh.explain_run,
        world.squidmesh.replay_run,
    ):
        with pytest.raises(InvalidRunId):
            call(run_id)


NAMES = ["", "\x00", "\ud800", "a" * 100_000, "Robert'); DROP TABLE"]


@pytest.mark.parametrize("name", NAMES, ids=lambda text: ascii(text[:10]))
def test_hostile_names_are_unknown(world, name):
    with pytest.raises(UnknownWorkflow):
        world.squidmesh.start_run(name)
    world.squidmesh.register(Echo)
    with pytest.raises(UnknownTrigger):
        world.squidmesh.start_run(Echo, {"value": 1}, trigger=name or "?")


class Signed(Workflow):
    """Waits for two decisions."""

    go = manual()
    hold = pause()
    review = approval(output="decision")
    transitions = [hold >> review >> complete, review.on_error(complete)]


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "<script>", "x" * 100_000])
def test_what_people_say_arrives_as_they_said_it(world, text):
    run_id = world.start(Signed)
    world.go(run_id)
    world.squidmesh.unblock_run(run_id, actor=text, comment=text, metadata={text: [text]})
    world.go(run_id)
    world.squidmesh.approve_run(run_id, actor={"name": text}, comment=text)
    run = world.go(run_id)
    said = [event for event in run.audit_events or () if event.type in {"resumed", "approved"}]
    assert [event.actor for event in said] == [text, {"name": text}]
    assert [event.comment for event in said] == [text, text]
    assert said[0].metadata == {text: [text]}


SAYINGS = [
    {"actor": {1: 2}},
    {"actor": {"a": math.nan}},
    {"actor": {"a": nest(100_000)}},
    {"actor": "me", "metadata": {"a": {1}}},
    {"actor": "me", "metadata": endless()},
    {"actor": "me", "comment": 5},
    {"actor": "x" * 2**21},
]


@pytest.mark.parametrize("said", SAYINGS, ids=range(len(SAYINGS)))
def test_decision_that_can_not_be_stored_is_refused_and_changes_nothing(world, said):
    run_id = world.start(Signed)
    before = world.go(run_id)
    with pytest.raises(InvalidDecision):
        world.squidmesh.unblock_run(run_id, **said)
    assert world.see(run_id) == before

"""Payload contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validates_schema

from flask_squidmesh.definition.declarations import complete, cron, manual, step
from flask_squidmesh.definition.payload import load_payload
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.exceptions import PayloadError, UnknownTrigger

CALLS: list[int] = []


def number() -> int:
    CALLS.append(len(CALLS))
    return CALLS[-1]


@dataclass
class Order:
    order_id: int


class OrderSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    order_id = fields.Integer(required=True, data_key="orderId")

    @validates_schema
    def positive(self, data, **kwargs):
        if data["order_id"] < 0:
            raise ValidationError("negative")

    @post_load
    def order(self, data, **kwargs):
        return Order(**data)


class ListSchema(Schema):
    @post_load
    def as_list(self, data, **kwargs):
        return [data]


class Flow(Workflow):
    by_hand = manual(
        account_id=fields.String(required=True),
        price=fields.Decimal(),
        day=fields.Date(),
        note=fields.String(load_default=None),
        serial=fields.Integer(load_default=number),
        anything=fields.Raw(),
    )
    by_order = manual(schema=OrderSchema)
    nightly = cron("@daily")
    odd = manual(schema=ListSchema)
    work = step(lambda: None)
    transitions = (work >> complete,)


def load(payload: Any, trigger: str = "by_hand") -> dict[str, Any]:
    return load_payload(Flow.__squidmesh__, trigger, payload)


def test_the_result_is_plain_json_with_defaults():
    loaded = load({"account_id": "a", "price": "1.50", "day": "2026-01-02"})

    assert loaded == {
        "account_id": "a",
        "price": "1.50",
        "day": "2026-01-02",
        "note": None,
        "serial": CALLS[-1],
    }


def test_a_callable_default_is_evaluated_once_per_run():
    before = len(CALLS)

    assert load({"account_id": "a"})["serial"] == before
    assert load({"account_id": "a"})["serial"] == before + 1
    assert load({"account_id": "a", "serial": 99})["serial"] == 99
    assert len(CALLS) == before + 2


def test_none_is_an_empty_payload():
    assert load(None, "nightly") == {}


@pytest.mark.parametrize("payload", [[], "text", 5, [("account_id", "a")]])
def test_a_payload_is_a_mapping(payload):
    with pytest.raises(PayloadError) as caught:
        load(payload)

    assert list(caught.value.messages) == ["_schema"]


def test_messages_come_by_field():
    with pytest.raises(PayloadError) as caught:
        load({"price": "many"})

    assert caught.value.messages == {
        "account_id": ["Missing data for required field."],
        "price": ["Not a valid number."],
    }


def test_unknown_keys_are_refused_whatever_the_schema_says():
    for trigger, payload in (
        ("by_hand", {"account_id": "a", "other": 1}),
        ("by_order", {"orderId": 1, "other": 1}),
    ):
        with pytest.raises(PayloadError) as caught:
            load(payload, trigger)

        assert caught.value.messages == {"other": ["Unknown field."]}


def test_only_the_chosen_trigger_counts():
    assert load({}, "nightly") == {}
    with pytest.raises(PayloadError):
        load({"account_id": "a"}, "nightly")


def test_attribute_names_are_the_keys_a_step_sees():
    assert load({"orderId": 5}, "by_order") == {"order_id": 5}


def test_schema_wide_rules_are_reported():
    with pytest.raises(PayloadError) as caught:
        load({"orderId": -5}, "by_order")

    assert caught.value.messages == {"_schema": ["negative"]}


def test_what_is_loaded_but_not_json_is_refused():
    with pytest.raises(PayloadError) as caught:
        load({"account_id": "a", "anything": [{1, 2}]})

    assert list(caught.value.messages) == ["anything"]
    assert "set is not JSON" in str(caught.value)


def test_a_schema_that_loads_no_mapping_is_refused():
    with pytest.raises(PayloadError) as caught:
        load({}, "odd")

    assert list(caught.value.messages) == ["_schema"]


def test_an_unknown_trigger_names_the_known_ones():
    with pytest.raises(UnknownTrigger) as caught:
        load({}, "nobody")

    assert caught.value.known == ("by_hand", "by_order", "nightly", "odd")

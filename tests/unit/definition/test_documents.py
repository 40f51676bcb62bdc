"""JSON documents are exact, bounded, and say what they refuse."""

from __future__ import annotations

import enum
import json
import math
import pickle
import sys
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.documents import MAX_DEPTH, DocumentError, decode, encode
from flask_squidmesh.exceptions import DocumentTooLarge

ANY_TEXT = st.text(st.characters(exclude_categories=()))
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALARS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Pair(enum.Enum):
    BOTH = (Colour.RED, Level.HIGH)


@dataclass
class Money:
    amount: Decimal
    currency: str


Point = namedtuple("Point", ["x", "y"])


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "never asked"


@given(JSON)
def test_reading_and_writing_again_gives_the_same_text(value):
    text = encode(value, what="output")

    assert encode(decode(text), what="output") == text
    assert text.isascii()


@given(JSON)
def test_json_comes_back_as_it_was(value):
    # Two lone surrogates beside each other are one character in JSON, whoever reads it.
    expected = json.loads(json.dumps(value))

    assert decode(encode(value, what="output")) == expected


@pytest.mark.parametrize("text", ["\ud800", "\x00", "a\x00b", "\udfff\ud800", "é🦑", "\u2028"])
def test_lone_surrogates_and_nul_survive(text):
    assert decode(encode({text: text}, what="output")) == {text: text}


def test_documents_are_compact_and_keep_the_order_of_keys():
    assert encode({"b": [1, 2], "a": None}, what="output") == '{"b":[1,2],"a":null}'


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),  # noqa: DTZ001  # users have them
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("10.50"), "10.50"),
        (ip_address("::1"), "::1"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Word.YES, "yes"),
        (Pair.BOTH, ["red", 3]),
        (Money(Decimal("1.10"), "EUR"), {"amount": "1.10", "currency": "EUR"}),
        (Point(1, Colour.RED), [1, "red"]),
        ((1, (2,)), [1, [2]]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        ({Word.YES: 1}, {"yes": 1}),
        (Name("kept"), "kept"),
        (True, True),
        (10**600, 10**600),
    ],
    ids=repr,
)
def test_each_type_is_encoded_in_one_way(value, plain):
    text = encode({"value": value}, what="output")

    assert decode(text) == {"value": plain}
    assert encode(decode(text), what="output") == text


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ({"items": [0, 1, 2, {"price": {1}}]}, "items[3].price", "set is not JSON"),
        ({"a": b"x"}, "a", "bytes is not JSON"),
        (object(), "", "object is not JSON"),
        ([Money], "[0]", "type is not JSON"),
        ({"a": {1: 2}}, "a", "a key of type int is not JSON, keys are text"),
        ({None: 1}, "", "a key of type NoneType is not JSON, keys are text"),
        ({"m": Money(1j, "EUR")}, "m.amount", "complex is not JSON"),  # type: ignore[arg-type]  # the point
        ([math.nan], "[0]", "nan is not JSON"),
        ([[-math.inf]], "[0][0]", "-inf is not JSON"),
        ({"n": 10**5000}, "n", "an integer with too many digits"),
        ({"f": len}, "f", "builtin_function_or_method is not JSON"),
        (range(3), "", "range is not JSON"),
    ],
    ids=range(12),
)
def test_what_is_not_json_is_refused_by_its_place(value, path, reason):
    with pytest.raises(DocumentError) as caught:
        encode(value, what="output")

    assert (caught.value.what, caught.value.path, caught.value.reason) == ("output", path, reason)


def test_a_refusal_is_a_value_error_that_survives_pickling():
    with pytest.raises(
        ValueError, match=r"the output is not JSON: a\[0\]: set is not JSON"
    ) as caught:
        encode({"a": [set()]}, what="output")

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # our own


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_values_are_nested_to_a_bounded_depth():
    assert decode(encode(nested(MAX_DEPTH), what="output")) == nested(MAX_DEPTH)

    for deep in (nested(MAX_DEPTH + 1), nested(sys.getrecursionlimit() * 2)):
        with pytest.raises(DocumentError, match="nested more than 100 levels deep") as caught:
            encode(deep, what="output")
        assert len(str(caught.value)) < 400


def test_a_value_that_holds_itself_is_refused():
    value: list[Any] = []
    value.append(value)

    with pytest.raises(DocumentError, match="nested more than"):
        encode(value, what="output")


def test_a_document_is_measured_in_bytes_as_stored():
    assert encode("é", what="payload", limit=8) == '"\\u00e9"'

    with pytest.raises(DocumentTooLarge) as caught:
        encode("é", what="payload", limit=7)

    assert (caught.value.what, caught.value.size, caught.value.limit) == ("payload", 8, 7)

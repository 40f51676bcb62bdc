"""Shapes tell no value, and text comes out to be seen whatever it holds."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.ui.data import LONGEST, pretty, show
from flask_squidmesh.ui.shape import MOST_LINES, shape
from flask_squidmesh.ui.text import Part, listed, name, plain, say, visible
from flask_squidmesh.ui.when import duration, moment

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


def redacted(value):
    """Return other data of the same shape."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return "#" * len(value)
    if isinstance(value, list):
        return [redacted(item) for item in value]
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    return value


@given(documents)
def test_data_of_the_same_shape_can_not_be_told_apart(document):
    assert shape(document) == shape(redacted(document))
    assert len(shape(document).splitlines()) <= MOST_LINES + 1


def test_a_shape_is_bounded_whatever_the_data():
    wide: object = 1
    for _ in range(5):
        wide = dict.fromkeys(map(str, range(50)), wide)
    assert shape(wide).count("\n") == MOST_LINES
    assert shape({"x" * 10_000: 1}) == f"object, 1 key\n  {'x' * 60}…: number"
    deep: list[object] = []
    for _ in range(90):
        deep = [deep]
    assert shape(deep).count("\n") == 4


@given(documents)
def test_pretty_data_is_the_data_and_reorders_nothing(document):
    text = pretty(document)
    assert json.loads(text) == document
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", text
    )
    text.encode()


def test_long_data_is_cut_and_leads_to_the_whole():
    shown = show("data-x", "X", "y" * 50_000, href="/whole")
    assert (len(shown.text), shown.is_cut, shown.size, shown.href) == (
        LONGEST,
        True,
        50_002,
        "/whole",
    )
    hidden = show("data-x", "X", "y" * 50_000, href=None)
    assert (hidden.text, hidden.is_shape, hidden.href) == ("text, 50000 characters", True, None)


@given(st.text())
def test_text_is_always_to_be_seen(text):
    shown = visible(text)
    shown.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


def test_sentences_keep_what_is_foreign_apart():
    said = say("{who} did {what}.", who=Part("foreign", "{what}"), what=name("it"))
    assert [(part.kind, part.text) for part in said] == [
        ("foreign", "{what}"),
        ("words", " did "),
        ("name", "it"),
        ("words", "."),
    ]
    assert plain(listed(map(name, "abc"))) == "a, b and c"
    assert plain(listed(map(name, "abcd"), most=2)) == "a, b and 2 more"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "less than a minute ago"),
        (0, "less than a minute ago"),
        (59, "in less than a minute"),
        (-60, "1 minute ago"),
        (7_300, "in 2 hours"),
        (-200_000, "2 days ago"),
    ],
)
def test_times_are_told_relative_to_the_page(seconds, said):
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    shown = moment(now + timedelta(seconds=seconds), now)
    assert shown.relative == said
    assert shown.absolute.endswith(" UTC")
    assert datetime.fromisoformat(shown.iso) == now + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 ms"),
        (0.001, "1 ms"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_told_in_two_units(seconds, said):
    assert duration(seconds) == said

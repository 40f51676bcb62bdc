"""The shape of data: keys, types and sizes, and no value. For those who may not see the data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from flask_squidmesh.ui.text import visible

DEEPEST: Final = 4
MOST_KEYS: Final = 40
MOST_LINES: Final = 200
LONGEST_KEY: Final = 60


def shape(value: Any) -> str:
    """Return the shape of JSON data as indented lines; bounded, whatever the data's size.

    >>> print(shape({"order": "A-1", "items": [{"price": 3.5}]}))
    object, 2 keys
      order: text, 3 characters
      items: list, 1 item
        first: object, 1 key
          price: number
    """
    lines = list(itertools.islice(_lines("", value, 0), MOST_LINES + 1))
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = ["and more"]
    return "\n".join(lines)


def _lines(label: str, value: Any, depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}{label}{_kind(value)}"
    if depth >= DEEPEST:
        return
    if isinstance(value, Mapping):
        for place, (key, item) in enumerate(value.items()):
            if place == MOST_KEYS:
                yield f"{'  ' * (depth + 1)}and {len(value) - MOST_KEYS} more keys"
                return
            yield from _lines(f"{visible(key, limit=LONGEST_KEY)}: ", item, depth + 1)
    elif _is_list(value) and value:
        yield from _lines("first: ", value[0], depth + 1)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return f"text, {_counted(len(value), 'character')}"
    if isinstance(value, Mapping):
        return f"object, {_counted(len(value), 'key')}"
    return f"list, {_counted(len(value), 'item')}" if _is_list(value) else "data"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""JSON documents: the one form in which payloads, inputs, outputs and contexts are stored.

A document is compact ASCII text with its keys in the order they were given, so
that lone surrogates and NUL characters survive every database. Beyond JSON's
own types these are encoded, always in the same way:

=============================  ==========================================
`datetime`, `date`, `time`     ISO 8601
`timedelta`                    seconds, as a float
`UUID`, `Decimal`, IP address  text
`Enum`                         its value
dataclass                      a mapping of its fields
tuple, named tuple             a list
mapping of any type            a mapping; keys must be text
=============================  ==========================================

Everything else is not JSON: sets, bytes, NaN and infinities, keys that are not
text, and values nested deeper than `MAX_DEPTH`. Reading a document and writing
it again gives the same text.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from types import NoneType
from typing import Any, Final
from uuid import UUID

from flask_squidmesh.exceptions import DocumentTooLarge, SquidMeshError

MAX_DEPTH: Final = 100
"""How many containers may stand inside each other."""

_AS_IT_IS: Final = frozenset({str, bool, NoneType})
_ADDRESSES: Final = (
    IPv4Address,
    IPv6Address,
    IPv4Interface,
    IPv6Interface,
    IPv4Network,
    IPv6Network,
)
# In this order: a text or integer enumeration is an Enum first, and a datetime is a date.
_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (Enum, lambda member: member.value),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    ((list, tuple), list),
    (Mapping, dict),
    ((date, time), lambda moment: moment.isoformat()),
    (timedelta, timedelta.total_seconds),
    ((UUID, Decimal, *_ADDRESSES), str),
)
# No interpreter setting makes an integer of this size unprintable.
_SAFE_INTEGER_BITS: Final = 2048


class DocumentError(SquidMeshError, ValueError):
    """A value is not JSON, so it can not be stored.

    `path` says where in the value (`items[3].price`, empty for the value
    itself), `reason` what stands there.
    """

    def __init__(self, what: str, path: str, reason: str) -> None:
        self.what = what
        self.path = path
        self.reason = reason
        super().__init__(what, path, reason)

    def message(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return (
            f"the {self.what} is not JSON: {where}{self.reason}; "
            "convert it to text, numbers, lists and mappings first"
        )


class _NotJson(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        # From the inside out: collected while the walk unwinds, so that the good case pays nothing.
        self.segments: list[str] = []
        super().__init__(reason)


# `json.dumps` makes one for each call that asks for anything but its defaults.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def encode(value: object, *, what: str, limit: int | None = None) -> str:
    """Return *value* as a document; *what* names it in errors.

    Raises:
        DocumentError: Some part of the value is not JSON.
        DocumentTooLarge: The document has more than *limit* bytes.
    """
    try:
        plain = _plain(value, 0)
    except _NotJson as error:
        path = "".join(reversed(error.segments)).removeprefix(".")
        raise DocumentError(what, _shortened(path), error.reason) from None
    text = _ENCODER.encode(plain)
    if limit is not None and len(text) > limit:
        raise DocumentTooLarge(what, len(text), limit)
    return text


def decode(text: str) -> Any:
    """Return the value of a document."""
    return json.loads(text)


def copied(value: Any) -> Any:
    """Return a value that was decoded, with its lists and mappings of its own; others as they are.

    Faster than `copy.deepcopy`, which looks for cycles and classes that a
    document does not have.
    """
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    if type(value) is list:
        return [copied(item) for item in value]
    return value


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is int:
        return _integer(value)
    if kind is float:
        return _number(value)
    if kind is dict:
        return _mapping(value, depth + 1)
    if kind is list or kind is tuple:
        return _list(value, depth + 1)
    return _converted(value, depth)


def _converted(value: Any, depth: int) -> Any:
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return _plain(convert(value), depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return _mapping(values, depth + 1)
    raise _NotJson(f"{type(value).__name__} is not JSON")


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise _NotJson(f"nested more than {MAX_DEPTH} levels deep")
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _NotJson(f"a key of type {type(key).__name__} is not JSON, keys are text")
        try:
            plain[str.__str__(key)] = _plain(item, depth)
        except _NotJson as error:
            error.segments.append(f".{key}")
            raise
    return plain


def _list(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    if depth > MAX_DEPTH:
        raise _NotJson(f"nested more than {MAX_DEPTH} levels deep")
    plain: list[Any] = []
    for item in value:
        try:
            plain.append(_plain(item, depth))
        except _NotJson as error:
            error.segments.append(f"[{len(plain)}]")
            raise
    return plain


def _integer(value: int) -> int:
    if value.bit_length() > _SAFE_INTEGER_BITS:
        try:
            str(value)
        except ValueError:
            raise _NotJson("an integer with too many digits") from None
    return value


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise _NotJson(f"{value} is not JSON")
    return value


def _shortened(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:120]}...{path[-60:]}"


def encode_sorted(value: object) -> str:
    """Return plain JSON data as text that does not depend on the order of keys, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

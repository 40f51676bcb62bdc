"""Payloads, inputs and outputs as a page shows them: as text, cut, or by their shape only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from flask_squidmesh.ui.shape import shape

LONGEST: Final = 6_000
"""How many characters of a document a page shows."""

# Characters that are not shown as they are, all of them within strings of JSON, where an escape
# means the same: lone surrogates, which no encoding has, what reorders a line, and C1 controls.
_ESCAPED: Final = re.compile("[\x7f-\x9f\ud800-\udfff\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Data:
    """Data of a run on a page.

    `text` is JSON, or its shape when `is_shape`; `size` is its number of
    characters. `href` leads to the whole of it, None where it may not be seen.
    """

    id: str
    title: str
    text: str
    is_shape: bool
    is_cut: bool
    size: int
    href: str | None


def show(id: str, title: str, value: Any, *, href: str | None) -> Data:
    """Return *value* for a page; by its shape when there is no *href* to the whole of it."""
    if href is None:
        return Data(id, title, shape(value), True, False, 0, None)
    text = pretty(value)
    is_cut = len(text) > LONGEST
    return Data(id, title, text[:LONGEST], False, is_cut, len(text), href)


def pretty(value: Any) -> str:
    r"""Return JSON data as indented text that reads the same in any direction of writing.

    >>> print(pretty({"a": "x\u202ey"}))
    {
      "a": "x\u202ey"
    }
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

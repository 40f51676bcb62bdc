"""Text for people: sentences made of parts, so that what is foreign stays apart from our words.

Names, errors, comments and everything else that was not written by us is a
part of its own. Templates isolate such parts, whatever direction and markup
they bring along; that they are escaped is Jinja's doing.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from flask_squidmesh.ui.when import Moment

# What a browser would drop, or let reorder the text around it: control characters but tab and
# newline, lone surrogates, and the characters that open and close embeddings and overrides.
_UNSEEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a sentence: our words, a name from code, foreign text, or a time."""

    kind: Literal["words", "name", "foreign", "time"]
    text: str
    at: Moment | None = None


Sentence = tuple[Part, ...]


def visible(text: object, *, limit: int | None = None) -> str:
    r"""Return *text* with every character to be seen, cut after *limit* characters.

    >>> visible("a\x00b\u202ec")
    'a\\x00b\\u202ec'
    """
    whole = str(text)
    shown = whole if limit is None or len(whole) <= limit else f"{whole[:limit]}…"
    return _UNSEEN.sub(_escaped, shown)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def name(text: object) -> Part:
    """Return the part for a name that the application's code has given."""
    return Part("name", visible(text, limit=255))


def foreign(text: object, *, limit: int = 500) -> Part:
    """Return the part for text that somebody else wrote."""
    return Part("foreign", visible(text, limit=limit))


def time(at: Moment) -> Part:
    """Return the part for a time."""
    return Part("time", at.absolute, at)


def say(template: str, **parts: Part | Sentence | str | float) -> Sentence:
    """Return the sentence of *template* with its fields replaced by *parts*.

    >>> [part.text for part in say("{step} waits.", step=name("pay"))]
    ['pay', ' waits.']
    """
    made: list[Part] = []
    for literal, field, _, _ in string.Formatter().parse(template):
        if literal:
            made.append(Part("words", literal))
        if field is None:
            continue
        value = parts[field]
        if isinstance(value, Part):
            made.append(value)
        elif isinstance(value, tuple):
            made += value
        else:
            made.append(Part("words", str(value)))
    return tuple(made)


def listed(items: Iterable[Part], *, most: int = 8) -> Sentence:
    """Return *items* as an enumeration; what is beyond *most* is counted."""
    every = list(items)
    shown = every[:most]
    made: list[Part] = []
    for place, item in enumerate(shown):
        if place:
            is_last = place == len(every) - 1
            made.append(Part("words", " and " if is_last else ", "))
        made.append(item)
    if len(every) > most:
        made.append(Part("words", f" and {len(every) - most} more"))
    return tuple(made)


def plain(sentence: Sentence) -> str:
    """Return the words of a sentence without what sets its parts apart."""
    return "".join(part.text for part in sentence)

"""How a rule reports: the place, a stable code, and a sentence with the remedy."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeGuard

from flask_squidmesh.definition.declarations import Complete, Step, Trigger

MAX_NAME: Final = 255
"""The longest name, version and cron expression the database takes."""

MAX_SECONDS: Final = 100 * 366 * 86_400
"""The longest wait or backoff: a hundred years, so that every time stays a date."""

_WORDS: Final = (
    (Step, "a step that is not declared in this class"),
    (Trigger, "a trigger (a run starts at the entry step by itself)"),
    (Complete, "complete (nothing comes after it)"),
    (str, "text (refer to the step itself)"),
    (list, "a list (write one transition per step)"),
)


class Finding(NamedTuple):
    """One problem. `subject` is the name it stands under in the class body; `part` its option."""

    subject: str
    part: str
    code: str
    message: str


def is_seconds(value: object) -> TypeGuard[float]:
    """Return whether *value* is a usable positive number of seconds."""
    # Comparisons only: they are safe for NaN, infinities and integers of any size.
    return is_number(value) and 0 < value <= MAX_SECONDS


def is_number(value: object) -> TypeGuard[float]:
    """Return whether *value* is an int or float; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """Return whether *value* is a string with something in it."""
    return isinstance(value, str) and bool(value.strip())


def described(value: object) -> str:
    """Return in words what was written where a step belongs; never its representation.

    Values may be anything, so nothing of them is called or compared.
    """
    for kind, words in _WORDS:
        if isinstance(value, kind):
            return words
    if callable(value):
        return "a function or class (declare it with step() first)"
    return f"of type {type(value).__name__}"

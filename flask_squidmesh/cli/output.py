"""How commands print: text and tables for people, documents for programs.

Tables are plain text. On a terminal they are cut to its width, and statuses
have a colour unless NO_COLOR is set; elsewhere nothing is cut or coloured.
What comes out of the database can not steer the terminal.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final

import click

_COLOURS: Final = {
    "completed": "green",
    "failed": "red",
    "abandoned": "red",
    "cancelled": "bright_black",
    "cancelling": "bright_black",
    "not_started": "bright_black",
    "paused": "yellow",
    "retrying": "yellow",
    "running": "cyan",
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
}
_GAP: Final = "  "
_LEGIBLE: Final = 20
"""A column this wide is not cut: half a time or a status says nothing."""


def print_json(document: Any, *, lines: bool = False) -> None:
    """Print a document for programs; with *lines* in one line, to be followed by others."""
    click.echo(json.dumps(document, indent=None if lines else 2))


def say(text: str = "") -> None:
    """Print text for people, whatever the terminal can show of it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table, without the columns that are empty.

    On a terminal that is too narrow long texts are cut, then the last columns
    are left out. The first column, where ids stand, is always whole.
    """
    cells = [[cell(value) for value in row] for row in rows]
    kept = [at for at in range(len(heads)) if at == 0 or any(row[at] for row in cells)]
    everything = [[heads[at].upper() for at in kept], *([row[at] for at in kept] for row in cells)]
    widths = _fitting([max(map(width, column)) for column in zip_longest(*everything)])
    return [_line(row[: len(widths)], widths) for row in everything]


def properties(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """Return a line for each pair that has a value, the values below one another."""
    known = [(name, cell(value)) for name, value in pairs if value not in (None, "")]
    widest = max((len(name) for name, _ in known), default=0)
    return [f"{name.ljust(widest)}{_GAP}{coloured(value)}" for name, value in known]


def cell(value: object) -> str:
    """Return *value* on one line, printable: times in UTC, nothing for None, JSON for data."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return printable(" ".join(value.split()))


def moment(at: datetime) -> str:
    """Return a time to the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def printable(text: str) -> str:
    """Return *text* with control characters spelled out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def coloured(text: str) -> str:
    """Return a status in its colour, where there are colours; everything else as it is."""
    colour = _COLOURS.get(text.strip())
    return click.style(text, fg=colour) if colour and has_colours() else text


def is_terminal() -> bool:
    """Return whether a person looks at the output right now."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def terminal_size() -> tuple[int, int]:
    """Return columns and lines of the terminal."""
    size = shutil.get_terminal_size()
    return size.columns, size.lines


def has_colours() -> bool:
    """Return whether the output may be coloured; NO_COLOR is the convention of no-color.org."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def width(text: str) -> int:
    """Return the columns that *text* takes on a terminal.

    >>> width("abc"), width("漢字"), width("e" + chr(0x301))
    (3, 4, 1)
    """
    return sum(_columns(character) for character in text)


def cut(text: str, columns: int) -> str:
    """Return *text* in at most *columns* columns; three dots stand for what was left out.

    >>> cut("a long sentence", 9)
    'a long...'
    """
    if width(text) <= columns:
        return text
    kept, room = "", columns - 3
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return f"{kept}..."


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fitting(widths: list[int]) -> list[int]:
    """Return the widths of the columns that the terminal has room for."""
    if not is_terminal():
        return widths
    room = terminal_size()[0]
    while len(widths) > 1 and _total(widths) > room:
        at = max(range(1, len(widths)), key=lambda each: widths[each])
        if widths[at] > _LEGIBLE:
            widths[at] -= 1
        else:
            widths.pop()
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    shown = []
    for text, columns in zip(row, widths, strict=True):
        fitting = cut(text, columns)
        shown.append(coloured(fitting) + " " * (columns - width(fitting)))
    return _GAP.join(shown).rstrip()

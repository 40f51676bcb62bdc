"""Statuses as a word, a sign and a tone, never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask_squidmesh.ui.drawing import SIGNS


@dataclass(frozen=True, slots=True)
class Badge:
    """How a status is shown; `tone` is one of the style sheet's."""

    status: str
    word: str
    sign: str
    tone: str


_TONES: Final = {
    "pending": "moving",
    "waiting": "moving",
    "running": "moving",
    "retrying": "warning",
    "paused": "asking",
    "completed": "good",
    "failed": "bad",
    "abandoned": "warning",
}
_OTHER_SIGNS: Final = {"cancelling": "◌", "abandoned": "✗"}


def badge(status: str) -> Badge:
    """Return how the status of a run, a step run or an attempt is shown."""
    sign = SIGNS.get(status) or _OTHER_SIGNS.get(status, "○")
    return Badge(status, status.replace("_", " "), sign, _TONES.get(status, "quiet"))

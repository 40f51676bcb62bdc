"""The work that every contestant does: the same number of steps, the same documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OURS: Final = "flask_squidmesh"
"""What this library is called in the tables."""

STEPS: Final = ("one", "two", "three", "four", "five")
"""The steps of a straight run; each does nothing but return `RESULT`."""

PAYLOAD: Final[Mapping[str, str]] = {"text": "p" * 200}
"""What a run is started with."""

RESULT: Final = "r" * 100
"""What a step returns, and what is stored for it."""

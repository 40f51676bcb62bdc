"""Cursors of lists that are ordered by a time and an id: opaque to callers, checked on return."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from flask_squidmesh.ids import parse_id


def make(at: datetime, run_id: str) -> str:
    """Return the cursor that stands behind this place of the list."""
    text = f"{at.isoformat()} {run_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(cursor: object) -> tuple[datetime, str]:
    """Return the place a cursor stands for.

    Raises:
        ValueError: It is not one of ours.
    """
    try:
        padded = str(cursor).encode("ascii") + b"=" * (-len(str(cursor)) % 4)
        at, run_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split(" ")
        # Ours are in UTC; another zone may lead out of the calendar.
        known, time = parse_id(run_id), datetime.fromisoformat(at)
    except (ValueError, binascii.Error):
        known, time = None, None
    if known is None or time is None or time.tzinfo != UTC:
        raise ValueError(f"{cursor!r} is not a cursor; pass the .next of an earlier page")
    return time, known

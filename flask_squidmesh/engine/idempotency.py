"""Idempotency keys: which request a caller means when it asks again.

A key is kept beside what the first request has left: with the run it started,
or with the audit event of the decision it made. The digest of that request is
kept too, so that a key which comes back with something else is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from flask_squidmesh.definition import documents

LONGEST_KEY: Final = 255
"""The most characters an idempotency key may have."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may come again: the caller's key, and the digest of what was asked."""

    key: str
    digest: str


def asked(key: str | None, what: Any) -> Asked | None:
    """Return the request for *what*, which is plain JSON data; None when it has no key.

    Raises:
        ValueError: The key is empty or too long.
    """
    if key is None:
        return None
    check_key(key)
    return Asked(key, digest(what))


def check_key(key: object) -> None:
    """Refuse what can not be a key.

    Raises:
        ValueError: It is no text, empty or too long.
    """
    if not isinstance(key, str) or not key or len(key) > LONGEST_KEY or "\0" in key:
        raise ValueError(
            f"an idempotency key is text of 1 to {LONGEST_KEY} characters without NUL, not {key!r}"
        )


def digest(what: Any) -> str:
    """Return the SHA-256 of plain JSON data, whatever order its keys came in."""
    return hashlib.sha256(documents.encode_sorted(what).encode()).hexdigest()

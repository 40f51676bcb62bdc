"""What `flask squidmesh check` finds: one sentence each, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flask_squidmesh.types import Result

Status = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding(Result):
    """The result of one check; `remedy` is empty where there is nothing to do."""

    check: str
    status: Status
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Return what works, but not as well as it could or should."""
    return Finding(check, "warning", message, remedy)


def problem(check: str, message: str, remedy: str) -> Finding:
    """Return what does not work."""
    return Finding(check, "problem", message, remedy)


def skipped(check: str, message: str) -> Finding:
    """Return what could not be looked at, or need not be."""
    return Finding(check, "skipped", message)

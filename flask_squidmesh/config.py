"""The settings: every `SQUIDMESH_*` key, its default, and what it may hold.

A leaf. `Settings.from_mapping` reads the whole configuration once and reports
every problem at once; afterwards nothing else looks at `app.config`. Durations
may be given in seconds or as a `timedelta`; attributes hold seconds as floats.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final

from flask_squidmesh.exceptions import ConfigError

PREFIX: Final = "SQUIDMESH_"
DISPATCHES: Final = ("celery", "manual")

# About thirty years: beyond it, adding a duration to a date may leave the calendar.
_LONGEST_SECONDS: Final = 1_000_000_000.0
_LARGEST_INTEGER: Final = 2**31 - 1
_LONGEST_QUEUE_NAME: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The validated configuration of one application; its defaults are the documented ones.

    Attributes:
        queue: Celery queue of every message this extension sends.
        workflows: Import paths of modules, or of single workflow classes.
        stale_step_timeout: Seconds after which a redelivered message may reclaim a
            running step whose row was not touched, even while its lease is alive;
            0 means always, None never.
        lease_ttl: Seconds a worker may stay silent before its steps are taken over.
        max_lost_attempts: How often a step without a retry policy may lose its worker.
        tick_interval: Seconds between two rounds of the ticker.
        ticker: Whether workers carry the ticker.
        inline_budget: Seconds one message may go on executing the next steps of its
            run; 0 is one step per message.
        max_step_visits: How often one step may be entered in one run.
        max_document_bytes: Largest payload, output or context, as encoded JSON.
        dispatch: `"celery"`, or `"manual"`, which sends no messages.
        blueprint: Whether the HTTP blueprint is mounted.
        dashboard: Whether the dashboard is mounted, at `<url_prefix>/dashboard`.
        url_prefix: Where both are mounted.
    """

    queue: str = "squidmesh"
    workflows: tuple[str, ...] = ()
    stale_step_timeout: float | None = None
    lease_ttl: float = 60.0
    max_lost_attempts: int = 3
    tick_interval: float = 1.0
    ticker: bool = True
    inline_budget: float = 5.0
    max_step_visits: int = 1000
    max_document_bytes: int = 1024 * 1024
    dispatch: str = "celery"
    blueprint: bool = False
    dashboard: bool = False
    url_prefix: str = "/squidmesh"

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Settings:
        """Return the settings in *config*, such as `app.config`; other keys are ignored.

        Raises:
            ConfigError: Carries every refused key with its value and what to do.
        """
        values: dict[str, Any] = {}
        invalid: dict[str, object] = {}
        reasons: dict[str, str] = {}
        for key, value in config.items():
            if not key.startswith(PREFIX):
                continue
            parse = _PARSERS.get(key, _unknown(key))
            try:
                values[key.removeprefix(PREFIX).lower()] = parse(value)
            except _Refused as problem:
                invalid[key] = value
                reasons[key] = str(problem)
        if invalid:
            raise ConfigError(invalid=invalid, reasons=reasons)
        return cls(**values)


class _Refused(ValueError):
    """A value is not acceptable; the text says what to give instead."""


def _unknown(key: str) -> Callable[[object], object]:
    """Return a parser that refuses everything and names the setting closest to *key*."""

    def parse(_value: object) -> object:
        # Without the prefix, which would make everything look alike.
        known = {name.removeprefix(PREFIX): name for name in _PARSERS}
        close = difflib.get_close_matches(key.removeprefix(PREFIX).upper(), known, n=1, cutoff=0.0)
        raise _Refused(f"no such setting; did you mean {known[close[0]]}?")

    return parse


def _described(value: object) -> str:
    return f"got {type(value).__name__}"


def _seconds(*, zero: bool) -> Callable[[object], float]:
    """Return a parser of durations; *zero* says whether 0 is one."""

    def parse(value: object) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Refused(f"give seconds as a number, or a timedelta ({_described(value)})")
        if isinstance(value, float) and not math.isfinite(value):
            raise _Refused("give a finite number of seconds")
        if value < 0 or (value == 0 and not zero):
            raise _Refused(f"give {'0 or more' if zero else 'more than 0'} seconds")
        if value > _LONGEST_SECONDS:
            raise _Refused(f"give at most {_LONGEST_SECONDS:.0f} seconds")
        return float(value)

    return parse


def _optional_seconds(value: object) -> float | None:
    return None if value is None else _seconds(zero=True)(value)


def _integer(*, minimum: int) -> Callable[[object], int]:
    """Return a parser of whole numbers from *minimum*."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _Refused(f"give a whole number ({_described(value)})")
        if not minimum <= value <= _LARGEST_INTEGER:
            raise _Refused(f"give a whole number from {minimum} to {_LARGEST_INTEGER}")
        return value

    return parse


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Refused(f"give True or False ({_described(value)})")
    return value


def _queue(value: object) -> str:
    if not isinstance(value, str):
        raise _Refused(f"give the name of a queue as text ({_described(value)})")
    # `celery worker -Q` separates names by commas; brokers bound their length.
    if not value or not value.isprintable() or any(c.isspace() or c == "," for c in value):
        raise _Refused("give a name without spaces, commas or control characters")
    if len(value.encode("utf-8", "surrogatepass")) > _LONGEST_QUEUE_NAME:
        raise _Refused(f"give a name of at most {_LONGEST_QUEUE_NAME} bytes")
    return value


def _import_paths(value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)):
        raise _Refused(f"give a list of import paths, even for a single one: [{value!r}]")
    if not isinstance(value, Sequence):
        raise _Refused(f"give a list of import paths ({_described(value)})")
    for item in value:
        if isinstance(item, type):
            raise _Refused(
                f"give import paths as text: {f'{item.__module__}.{item.__qualname__}'!r} instead "
                "of the class itself, or call squidmesh.register with the class"
            )
        if not isinstance(item, str) or not item.strip():
            raise _Refused(f"give import paths as text, such as 'billing.workflows'; not {item!r}")
    return tuple(value)


def _dispatch(value: object) -> str:
    if not isinstance(value, str) or value not in DISPATCHES:
        raise _Refused(f"give one of: {', '.join(map(repr, DISPATCHES))}")
    return value


def _url_prefix(value: object) -> str:
    if not isinstance(value, str):
        raise _Refused(f"give a path as text ({_described(value)})")
    if not value.startswith("/"):
        raise _Refused("let the path start with a slash, as in '/squidmesh'")
    if value.endswith("/"):
        raise _Refused("let the path end without a slash, as in '/squidmesh'")
    if not value.isprintable() or any(c.isspace() or c in "?#" for c in value):
        raise _Refused("give a path without spaces, '?' or '#', as in '/squidmesh'")
    return value


_PARSERS: Final[Mapping[str, Callable[[object], object]]] = {
    "SQUIDMESH_QUEUE": _queue,
    "SQUIDMESH_WORKFLOWS": _import_paths,
    "SQUIDMESH_STALE_STEP_TIMEOUT": _optional_seconds,
    "SQUIDMESH_LEASE_TTL": _seconds(zero=False),
    "SQUIDMESH_MAX_LOST_ATTEMPTS": _integer(minimum=0),
    "SQUIDMESH_TICK_INTERVAL": _seconds(zero=False),
    "SQUIDMESH_TICKER": _boolean,
    "SQUIDMESH_INLINE_BUDGET": _seconds(zero=True),
    "SQUIDMESH_MAX_STEP_VISITS": _integer(minimum=1),
    "SQUIDMESH_MAX_DOCUMENT_BYTES": _integer(minimum=1),
    "SQUIDMESH_DISPATCH": _dispatch,
    "SQUIDMESH_BLUEPRINT": _boolean,
    "SQUIDMESH_DASHBOARD": _boolean,
    "SQUIDMESH_URL_PREFIX": _url_prefix,
}


def known_keys() -> tuple[str, ...]:
    """Return every configuration key, in the order of `Settings`' attributes."""
    return tuple(PREFIX + field.name.upper() for field in fields(Settings))

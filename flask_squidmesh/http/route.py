"""What a route is: where it stands, which action it needs, what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from flask import Response
from marshmallow import Schema

from flask_squidmesh.current import Actor
from flask_squidmesh.types import Run


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was granted: by whom, about which run, with which parts of the path."""

    actor: Actor
    run: Run | None
    arguments: Mapping[str, str]

    def require_run(self) -> Run:
        """Return the run that a route with `<run_id>` is about."""
        if self.run is None:
            raise RuntimeError("this route is about no run")
        return self.run


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table of routes.

    `codes` are those of the problems that belong to the route itself; what every
    route, every run or every body can meet is added by `all_codes`. `invalid`
    is the code for a body that breaks its schema.
    """

    rule: str
    method: Literal["GET", "POST"]
    action: str
    view: Callable[[Call], Response]
    summary: str
    answer: type[Schema]
    status: int = 200
    query: type[Schema] | None = None
    body: type[Schema] | None = None
    invalid: str = "invalid_decision"
    codes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The endpoint within the blueprint, and the id of the operation."""
        return self.view.__name__

    @property
    def is_about_a_run(self) -> bool:
        return "<run_id>" in self.rule

    def all_codes(self) -> tuple[str, ...]:
        """Return the code of every problem this route may answer with."""
        codes = ["forbidden", *self.codes, "internal_error"]
        if self.is_about_a_run:
            codes += ["invalid_run_id", "run_not_found"]
        if self.query is not None:
            codes += ["invalid_query"]
        if self.body is not None:
            codes += [
                "invalid_idempotency_key",
                "invalid_json",
                "document_too_large",
                "unsupported_media_type",
                "idempotency_conflict",
                self.invalid,
            ]
        return tuple(codes)

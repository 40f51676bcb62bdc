"""Who may do what: asked before anything else is looked at, and refused unless granted."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from flask import current_app, request

from flask_squidmesh.exceptions import InvalidRunId, RunNotFound
from flask_squidmesh.http.problems import forbidden
from flask_squidmesh.http.route import Call, Route
from flask_squidmesh.operations import find_actor, inspect_run, is_authority_there
from flask_squidmesh.types import Run

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})
_OF_STEPS: Final = ("input", "output")
_OF_RUNS: Final = ("payload", "context")


def grant(route: Route, arguments: dict[str, str]) -> Call:
    """Return the call when the caller may do what *route* does.

    Whether the run exists is told only to those who may know: until then, a
    missing one is asked about as None.

    Raises:
        Refused: The caller may not.
        InvalidRunId, RunNotFound: The caller may, but there is no such run.
    """
    if not is_authority_there():
        current_app.logger.warning(
            "flask_squidmesh refused %s: nobody decides who may do it; register a function with "
            "@squidmesh.authorize",
            route.action,
        )
        raise forbidden()
    if _is_cross_site():
        raise forbidden()
    run, missing = _look_up(route, arguments)
    actor = find_actor(route.action, run)
    if actor is None:
        raise forbidden()
    if missing is not None:
        raise missing
    return Call(actor, run, arguments)


def _look_up(
    route: Route, arguments: dict[str, str]
) -> tuple[Run | None, InvalidRunId | RunNotFound | None]:
    if not route.is_about_a_run:
        return None, None
    try:
        return inspect_run(arguments["run_id"]), None
    except (InvalidRunId, RunNotFound) as error:
        return None, error


def _is_cross_site() -> bool:
    """Return whether a browser says that a page of another origin makes a change here."""
    if request.method in _SAFE_METHODS:
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in _OWN_SITE
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != request.host.lower()
    except ValueError:
        return True


def shown(run: Run) -> dict[str, Any]:
    """Return *run* as JSON data, without its payload where the caller may not see that."""
    return run.to_dict() if may_see_payload(run) else without_payload(run.to_dict())


def may_see_payload(run: Run) -> bool:
    """Return whether the caller may see the payload, context, inputs and outputs of *run*."""
    return find_actor("runs:payload", run) is not None


def without_payload(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run's document with null for its payload, context, inputs and outputs."""
    covered = {**run, **dict.fromkeys(_OF_RUNS)}
    for name in ("steps", "step_runs"):
        if covered[name] is not None:
            covered[name] = [without_data(step) for step in covered[name]]
    return covered


def without_data(step: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a step, or step run, with null for its input and output."""
    return {**step, **dict.fromkeys(_OF_STEPS)}

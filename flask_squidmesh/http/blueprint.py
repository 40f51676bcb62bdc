"""Makes the blueprint from the table of routes; one for each application."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError

from flask_squidmesh.exceptions import SquidMeshError
from flask_squidmesh.http import access, problems
from flask_squidmesh.http.problems import Refused
from flask_squidmesh.http.route import Route
from flask_squidmesh.http.views import ROUTES

NAME: Final = "squidmesh"

# Every method comes to the view: what is not granted is 403, also with a method there is not.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def create_blueprint() -> Blueprint:
    """Return the blueprint with all routes, to be registered under the prefix."""
    blueprint = Blueprint(NAME, __name__)
    for route in ROUTES:
        blueprint.add_url_rule(
            route.rule,
            endpoint=route.name,
            view_func=_guarded(route),
            methods=_METHODS,
            provide_automatic_options=False,
        )
    blueprint.register_error_handler(Refused, problems.answer)
    blueprint.register_error_handler(SquidMeshError, problems.answer_error)
    blueprint.register_error_handler(HTTPException, problems.answer_abort)
    # By its number, too: else a page of the host's for its own errors would come first.
    blueprint.register_error_handler(InternalServerError, problems.answer_abort)
    blueprint.after_request(_protect)
    return blueprint


def _guarded(route: Route) -> Any:
    allowed = ("GET", "HEAD") if route.method == "GET" else (route.method,)

    def view(**arguments: str) -> Response:
        call = access.grant(route, arguments)
        if request.method not in allowed:
            raise Refused(
                "method_not_allowed",
                f"This is for {route.method} only.",
                headers={"Allow": ", ".join(allowed)},
            )
        return route.view(call)

    return view


def _protect(response: Response) -> Response:
    """Keep answers out of caches, and browsers from guessing what they are."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response

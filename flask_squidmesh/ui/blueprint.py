"""Makes the dashboard's blueprint from the table of routes; one for each application."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError

from flask_squidmesh.current import state
from flask_squidmesh.exceptions import SquidMeshError
from flask_squidmesh.ui import access, forgery, problems
from flask_squidmesh.ui.problems import Refused
from flask_squidmesh.ui.route import Call, Route
from flask_squidmesh.ui.routes import ROUTES

NAME: Final = "squidmesh_dashboard"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)
"""What a page may load and do: nothing inline, nothing from elsewhere."""

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # With the origin, for those who check where a form comes from, and with the path only for us.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

# Every method comes to the view: what is not granted is 403, also with a method there is not.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def create_dashboard() -> Blueprint:
    """Return the blueprint with all pages, to be registered under the prefix."""
    blueprint = Blueprint(
        NAME,
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )
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
    def view(**arguments: Any) -> Response:
        is_change = request.method not in ("GET", "HEAD")
        action = route.to_do if is_change and route.to_do is not None else route.to_see
        visitor, run = access.admit(action, arguments.get("run_id"))
        if request.method not in route.allowed:
            text = "This address can not be used like this. Nothing was changed."
            raise Refused(405, "Not possible", text, headers={"Allow": ", ".join(route.allowed)})
        actor = visitor.find_actor(action, run)
        if actor is None:
            raise problems.forbidden()
        now = state().clock.now
        if not is_change or route.post is None:
            return route.get(Call(visitor, actor, run, arguments, now))
        key = forgery.check()
        return route.post(Call(visitor, actor, run, arguments, now, key))

    return view


def _protect(response: Response) -> Response:
    """Add what keeps a page to itself; what the host has set already stays."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != f"{NAME}.static":
        response.headers["Cache-Control"] = "no-store"
        response.vary.add("Cookie")
    return response

"""Who may use the dashboard: two people, their login, and what each of them may do.

An example of how an application lets its own login decide, not of a login: that
keeps people in a table and hashes instead of passwords, and slows down those who
guess. Here the passwords come from the environment, and without any nobody gets in.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Final

from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from flask_squidmesh import Run
from minimal_host_app.extensions import squidmesh

LOOKING: Final = frozenset({"runs:list", "runs:read", "workflows:list"})
DECIDING: Final = frozenset({"runs:approve", "runs:reject", "runs:unblock"})
OPERATING: Final = frozenset({"runs:start", "runs:cancel", "runs:replay"})
# Apart from the others: payloads hold what customers have told us.
DATA: Final = frozenset({"runs:payload"})

PEOPLE: Final[Mapping[str, frozenset[str]]] = {
    "olivia@example.org": LOOKING | DECIDING | OPERATING | DATA,
    "victor@example.org": LOOKING,
}

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

blueprint = Blueprint("people", __name__)


def init_app(app: Flask) -> None:
    if not isinstance(app.config["PASSWORDS"], Mapping):
        raise TypeError("HOST_APP_PASSWORDS must be a JSON object: passwords by name")
    app.register_blueprint(blueprint)


@squidmesh.authorize
def who_may(action: str, _run: Run | None) -> str | None:
    """Return who is logged in if they may; send everybody else to the login first."""
    person: str = session.get("person", "")
    if person not in PEOPLE:
        # Back to a page, not to what a form was sent to with what it held.
        back = request.full_path.rstrip("?") if request.method == "GET" else request.path
        abort(redirect(url_for("people.login", next=back)))
    return person if action in PEOPLE[person] else None


@blueprint.get("/login")
def login() -> ResponseReturnValue:
    return page(200)


@blueprint.post("/login")
def log_in() -> ResponseReturnValue:
    if not is_from_our_form():
        return page(400, "This form is too old. Please send this new one.")
    person = request.form.get("person", "").strip()
    if not is_password_of(person, request.form.get("password", "")):
        return page(401, "This is not the name and the password of one of us.")
    # Nothing of the session before counts any more.
    session.clear()
    session["person"] = person
    return redirect(where_to(), 303)


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    if not is_from_our_form():
        return page(400, "This form is too old. Please send this new one.")
    session.clear()
    return redirect(url_for("people.login"), 303)


@blueprint.after_request
def protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def page(status: int, problem: str | None = None) -> ResponseReturnValue:
    is_possible = bool(current_app.secret_key and current_app.config["PASSWORDS"])
    if is_possible:
        session.setdefault("form", secrets.token_urlsafe(16))
    html = render_template(
        "login.html",
        is_possible=is_possible,
        person=session.get("person"),
        problem=problem,
        token=session.get("form"),
        typed=request.form.get("person", ""),
        where_to=where_to(),
    )
    return html, status


def is_from_our_form() -> bool:
    """Whether the form that was sent was shown to this visitor, and not made by another site."""
    known = session.get("form", "")
    sent = request.form.get("token", "")
    return bool(known) and hmac.compare_digest(sent.encode(), known.encode())


def is_password_of(person: str, password: str) -> bool:
    known = current_app.config["PASSWORDS"].get(person, "") if person in PEOPLE else ""
    return bool(known) and hmac.compare_digest(password.encode(), str(known).encode())


def where_to() -> str:
    """Return the page of the dashboard that was asked for before the login, or its first one."""
    first = url_for("squidmesh_dashboard.overview")
    wanted = request.values.get("next", "")
    # It begins with a path of ours, so it can not lead to another host.
    return wanted if wanted.startswith(first) else first

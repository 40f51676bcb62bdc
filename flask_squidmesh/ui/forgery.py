"""Proof that a form was filled in here: no other site can make a browser send one.

Flask-WTF's token when the host has its `CSRFProtect`; otherwise one of our own,
signed with the application's secret key, bound to the visitor's session, and
valid for `LIFETIME`. Either is demanded of every POST, whatever the host has
exempted. Beside it each form carries an idempotency key, so that one which is
sent twice does its work once.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from flask import current_app, request, session
from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from werkzeug.exceptions import BadRequest

from flask_squidmesh.current import state
from flask_squidmesh.ids import new_id
from flask_squidmesh.ui.problems import Refused

LIFETIME: Final = timedelta(hours=12)
FIELD: Final = "squidmesh_token"
_SESSION_KEY: Final = "_squidmesh_forms"
_SALT: Final = "flask_squidmesh.dashboard"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a form brings back, in hidden fields: the token, and the form's own key."""

    field: str
    token: str
    key: str


class _Signer(TimestampSigner):
    """Takes the time from the application's clock."""

    def get_timestamp(self) -> int:
        return int(state().clock.now.timestamp())


def issue() -> Ticket | None:
    """Return the hidden fields of a new form; None when the application can not sign any."""
    if not current_app.secret_key:
        return None
    if _host_protection() is not None:
        field = current_app.config["WTF_CSRF_FIELD_NAME"]
        make: Any = current_app.jinja_env.globals["csrf_token"]
        return Ticket(field, make(), new_id())
    if _SESSION_KEY not in session:
        session[_SESSION_KEY] = secrets.token_urlsafe(16)
    return Ticket(FIELD, _serializer().dumps(session[_SESSION_KEY]), new_id())


def check() -> str | None:
    """Return the key of the form that was sent, None if it has none.

    Raises:
        Refused: Its token is missing, too old, or another visitor's.
    """
    if not current_app.secret_key:
        raise _stale()
    protection = _host_protection()
    if protection is None:
        _check_own(request.form.get(FIELD, ""))
    else:
        try:
            protection.protect()
        except BadRequest as error:
            raise _stale() from error
    key = request.form.get("key", "")
    if len(key) > 100 or not key.isascii() or not key.isprintable():
        raise _stale()
    return key or None


def _check_own(token: str) -> None:
    try:
        owner = _serializer().loads(token, max_age=int(LIFETIME.total_seconds()))
    except BadData as error:
        raise _stale() from error
    known = session.get(_SESSION_KEY)
    if known is None or not hmac.compare_digest(str(owner).encode(), str(known).encode()):
        raise _stale()


def _stale() -> Refused:
    text = (
        "This form is too old, or was not opened in this browser. Nothing was changed. "
        "Open the page again and send the new form."
    )
    return Refused(400, "Please try again", text)


def _host_protection() -> Any:
    """Return Flask-WTF's `CSRFProtect` of this application, None where there is none."""
    found = current_app.extensions.get("csrf")
    return found if hasattr(found, "protect") else None


def _serializer() -> URLSafeTimedSerializer:
    key = current_app.secret_key
    older = current_app.config.get("SECRET_KEY_FALLBACKS") or ()
    return URLSafeTimedSerializer([*older, key], salt=_SALT, signer=_Signer)

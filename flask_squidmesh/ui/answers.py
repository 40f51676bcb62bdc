"""Answers: a page from its view model, a redirect after a change, data to keep.

A page may be asked for again and again by the script that keeps it current.
Its entity tag is a digest of what a visitor would see, without what differs each
time: hidden fields, the time of the page, bars that grow. While it holds, the
answer is 304.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, make_response, redirect, render_template, request, url_for

from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.when import Moment, moment

_CHANGING: Final = re.compile(
    r'<input type="hidden"[^>]*>|<time[^>]* data-as-of[^>]*>[^<]*</time>|'
    r'<svg class="sm-bar".*?</svg>'
)
_BEGIN: Final = '<div class="sq sq-page"'
_END: Final = "<!-- end of squidmesh -->"


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every page: the ways to other pages, and when this one was made."""

    links: tuple[tuple[str, str, bool], ...]
    as_of: Moment


def page(
    call: Call, template: str, *, status: int = 200, live: bool = True, **model: Any
) -> Response:
    """Return the page of *template*; a *live* one is kept current by the script."""
    frame = Frame(_links(call), moment(call.now, call.now))
    html = render_template(f"squidmesh/{template}", frame=frame, live=live, **model)
    response = make_response(html, status)
    if live and status == 200:
        response.set_etag(_digest(html), weak=True)
        response.make_conditional(request)
    return response


def _digest(html: str) -> str:
    begin, end = html.find(_BEGIN), html.find(_END)
    seen = html[begin:end] if 0 <= begin < end else html
    return hashlib.sha256(_CHANGING.sub("", seen).encode()).hexdigest()[:32]


def _links(call: Call) -> tuple[tuple[str, str, bool], ...]:
    here = request.endpoint
    wanted = (
        ("Overview", ".overview", "runs:list"),
        ("Inbox", ".inbox", "runs:list"),
        ("Runs", ".runs", "runs:list"),
        ("Workflows", ".workflows", "workflows:list"),
    )
    return tuple(
        (label, url_for(endpoint), here is not None and here.endswith(endpoint))
        for label, endpoint, action in wanted
        if call.visitor.may(action)
    )


def see_other(endpoint: str, **arguments: Any) -> Response:
    """Return the answer to a change: look there, by a GET."""
    response = redirect(url_for(endpoint, **arguments), 303)
    return make_response(response)


def document(name: str, text: str) -> Response:
    """Return *text*, which may be anything, as a file to keep: no browser shows it as a page."""
    response = Response(text, mimetype="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.json"'
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response

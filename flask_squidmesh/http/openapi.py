"""The OpenAPI document of the routes, made of the schemas that check the requests.

Needs apispec, which is the extra `openapi`; without it only this document is
not to be had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from flask_squidmesh.http import schemas
from flask_squidmesh.http.problems import MEDIA_TYPE, STATUSES
from flask_squidmesh.http.requests import LONGEST_KEY
from flask_squidmesh.http.route import Route

VERSION: Final = "1"
_ABOUT: Final = """\
Runs of durable workflows: start them, read them, decide about them.

Who calls is found out by the application, in its own way (a session, a key in a header); what it
does not allow is 403, whatever else may be wrong with the request. Errors are problem documents
(RFC 9457) with a stable `code`.
"""
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request repeatable: nothing happens twice for the same key.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_KEY,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}
_PARTS: Final = {
    "name": {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
    "run_id": {"type": "string", "format": "uuid"},
}
_HEADERS: Final = {
    "Location": "The path of the new run.",
    "Link": "The path of the next page, as rel=next, if there is one.",
}


class ApispecMissing(Exception):
    """The library that makes the document is not installed."""

    def __str__(self) -> str:
        return (
            "This document is made by apispec, which is not installed on the server: "
            "pip install 'flask-squidmesh[openapi]'."
        )


def document(routes: Iterable[Route], *, root: str) -> dict[str, Any]:
    """Return the document of *routes*, which stand below the path *root*.

    Raises:
        ApispecMissing: There is nothing to make it with.
    """
    try:
        from apispec import APISpec  # noqa: PLC0415  # an extra, and slow to load
        from apispec.ext.marshmallow import MarshmallowPlugin  # noqa: PLC0415  # as above
    except ImportError as error:
        raise ApispecMissing from error
    spec = APISpec(
        title="flask_squidmesh",
        version=VERSION,
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin()],
        info={"description": _ABOUT},
        servers=[{"url": root}],
    )
    for route in routes:
        path = re.sub(r"<(\w+)>", r"{\1}", route.rule)
        spec.path(path, operations={route.method.lower(): _operation(route)})
    made: dict[str, Any] = spec.to_dict()
    return made


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Needs `{route.action}`.",
        "parameters": [_part(name) for name in re.findall(r"<(\w+)>", route.rule)],
        "responses": _responses(route),
    }
    if route.query is not None:
        operation["parameters"].append({"in": "query", "schema": route.query})
    if route.body is not None:
        operation["parameters"].append(_KEY)
        operation["requestBody"] = {"required": True, "content": _json(route.body)}
    return operation


def _part(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _PARTS[name]}


def _responses(route: Route) -> dict[str, Any]:
    granted: dict[str, Any] = {"description": route.summary, "content": _json(route.answer)}
    header = "Location" if route.status == 201 else "Link" if route.name == "read_runs" else None
    if header is not None:
        described = {"description": _HEADERS[header], "schema": {"type": "string"}}
        granted["headers"] = {header: described}
    responses = {str(route.status): granted}
    codes: dict[int, list[str]] = {}
    for code in route.all_codes():
        codes.setdefault(STATUSES[code], []).append(f"`{code}`")
    for status, listed in sorted(codes.items()):
        responses[str(status)] = {
            "description": ", ".join(sorted(listed)),
            "content": {MEDIA_TYPE: {"schema": schemas.ProblemSchema}},
        }
    return responses


def _json(schema: object) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}

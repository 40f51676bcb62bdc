"""What a request brings along: its query, its body, its idempotency key; nothing is trusted."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from flask_squidmesh.definition.documents import MAX_DEPTH
from flask_squidmesh.http.problems import Refused
from flask_squidmesh.operations import config

LONGEST_KEY: Final = 255
"""The most characters an `Idempotency-Key` may have."""

_NOT_ACCEPTABLE: Final = "The body is not acceptable; see the errors."
_TOO_DEEP: Final = f"Nested more than {MAX_DEPTH} levels deep."
_ROOM: Final = 4096
"""Bytes of a body besides its documents."""

_CHUNK: Final = 65_536


def read_query(schema: type[Schema]) -> dict[str, Any]:
    """Return the parameters of the query, checked.

    Raises:
        Refused: Some are unknown, repeated or not acceptable.
    """
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise _bad_query({name: ["Give it once."] for name in repeated})
    try:
        loaded: dict[str, Any] = schema().load(request.args.to_dict())
    except ValidationError as error:
        raise _bad_query(error.messages) from None
    return loaded


def _bad_query(errors: object) -> Refused:
    return Refused("invalid_query", "The query is not acceptable; see the errors.", errors=errors)


def read_idempotency_key() -> str | None:
    """Return the caller's key for this request, if it has one.

    Raises:
        Refused: It is blank, too long, or has characters that are not printable ASCII.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if key.strip() and len(key) <= LONGEST_KEY and key.isascii() and key.isprintable():
        return key
    detail = f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters."
    raise Refused("invalid_idempotency_key", detail)


def read_body(schema: type[Schema], *, invalid: str) -> dict[str, Any]:
    """Return the body, which must be a JSON object as *schema* describes it.

    Raises:
        Refused: It is not; *invalid* is the code when it is JSON, but breaks the schema.
    """
    if request.mimetype != "application/json":
        # A form of another site can not send this type, whatever session goes with it.
        raise Refused("unsupported_media_type", "Send JSON, as Content-Type: application/json.")
    document = _parsed(_read(_limit()))
    if _is_deeper(document, MAX_DEPTH + 1):
        # Here: whoever validates the contract of a payload may not be prepared for it.
        raise Refused(invalid, _NOT_ACCEPTABLE, errors={"_schema": [_TOO_DEEP]})
    try:
        loaded: dict[str, Any] = schema().load(document)
    except ValidationError as error:
        raise Refused(invalid, _NOT_ACCEPTABLE, errors=error.normalized_messages()) from None
    return loaded


def _limit() -> int:
    # Twice: the documents may be indented, and there may be a comment beside them. What is
    # stored is checked exactly, by those who store it.
    return 2 * config().max_document_bytes + _ROOM


def _read(limit: int) -> bytes:
    too_large = Refused("document_too_large", f"The body may have {limit} bytes.")
    length = request.content_length
    try:
        if length is not None:
            if length > limit:
                raise too_large
            # Cached: whoever looked at the body before has left it there.
            return request.get_data()
        data = bytearray()
        while chunk := request.stream.read(_CHUNK):
            data += chunk
            if len(data) > limit:
                raise too_large
    except RequestEntityTooLarge:
        # The host allows less.
        raise too_large from None
    return bytes(data)


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(
            data.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError:
        raise _not_json(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except UnicodeDecodeError:
        raise _not_json("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _not_json(f"{error.msg} ({where})") from None
    except ValueError as error:
        raise _not_json(str(error)) from None


def _not_json(reason: str) -> Refused:
    return Refused("invalid_json", f"The body is not JSON: {reason}.")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether containers stand inside each other more than *depth* deep."""
    level = [value]
    for _ in range(depth + 1):
        level = [item for item in level if isinstance(item, (dict, list))]
        if not level:
            return False
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
        ]
    return True

"""Calls to other systems from steps, with failures that retry policies understand.

`invoke` hands a request to an adapter and returns its `ToolResult`; what goes
wrong is a `ToolError`, which says whether trying again can help. Raised in a
step, it is retried only if it is retryable, and the step has attempts left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from flask_squidmesh.exceptions import ToolError

if TYPE_CHECKING:
    import httpx

__all__ = ["Adapter", "HTTPAdapter", "ToolError", "ToolResult", "invoke"]

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds an HTTP request may take when it does not say."""

_KNOWN: Final = frozenset({"method", "url", "headers", "params", "json", "body", "timeout"})


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered.

    Attributes:
        payload: The answer; JSON data where a step is to return it.
        metadata: Facts about the call, such as how long it took.
    """

    payload: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Adapter(Protocol):
    """Any object that can carry out a request: it needs this one method."""

    def invoke(self, request: Any, context: Any) -> ToolResult:
        """Carry *request* out and return what came of it, or raise `ToolError`."""
        ...


def invoke(adapter: Adapter, request: Any, context: Any = None) -> ToolResult:
    """Carry *request* out through *adapter* and return what came of it.

    Args:
        adapter: Any object with a method `invoke(request, context)`.
        request: What that adapter understands, such as the mapping of `HTTPAdapter`.
        context: Passed on; usually the step's `StepContext`.

    Raises:
        ToolError: The request was not carried out, or not successfully. A step
            function lets it pass: it is retried only if it is retryable.
        TypeError: The adapter has no such method, or answers with something else.
    """
    name = type(adapter).__name__
    if not callable(getattr(adapter, "invoke", None)):
        raise TypeError(f"{name} is no adapter; it needs a method invoke(request, context)")
    result = adapter.invoke(request, context)
    if not isinstance(result, ToolResult):
        raise TypeError(f"{name}.invoke() returned {type(result).__name__}; return a ToolResult")
    return result


class HTTPAdapter:
    """Carries HTTP requests out with httpx; needs the extra `flask-squidmesh[http]`.

    A request is a mapping with `method` and `url`, and where needed `headers`,
    `params`, `json` or `body`, and `timeout` in seconds (30 without). A status
    of 2xx or 3xx is a result with the payload `{"status", "headers", "body"}`;
    the body is JSON data where the answer says so, else text. Everything else
    is a `ToolError` of the kind `http` (retryable from 500 up and for 429),
    `timeout` or `transport` (both retryable), or `invalid_request` (not).

    Args:
        client: Sends the requests, so that connections stay open between them. By
            default each call opens and closes a client of its own.
    """

    name = "http"

    def __init__(self, client: httpx.Client | None = None) -> None:
        self._client = client

    def invoke(self, request: Any, context: Any = None) -> ToolResult:  # the protocol
        """Send the request and return the answer.

        Raises:
            ToolError: As the class says.
        """
        import httpx  # noqa: PLC0415  # an extra: only who uses it needs it

        arguments = self._arguments(request)
        client = self._client or httpx.Client()
        not_a_request = (
            httpx.UnsupportedProtocol,
            httpx.InvalidURL,
            httpx.LocalProtocolError,
            TypeError,
            ValueError,
        )
        try:
            answer = client.request(**arguments)
        except httpx.TimeoutException as error:
            raise self._error("timeout", _said(error), retryable=True) from error
        except not_a_request as error:
            raise self._error("invalid_request", _said(error), retryable=False) from error
        except httpx.RequestError as error:
            # Besides the connection's: answers that can not be decoded, redirects without an end.
            raise self._error("transport", _said(error), retryable=True) from error
        finally:
            if self._client is None:
                client.close()
        return self._result(answer)

    def _arguments(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, Mapping):
            raise self._error("invalid_request", "the request must be a mapping", retryable=False)
        faults = [f"{key} is not a part of a request" for key in request if key not in _KNOWN]
        faults += [
            f"{key} must be a non-empty string"
            for key in ("method", "url")
            if not isinstance(request.get(key), str) or not request[key]
        ]
        timeout = request.get("timeout", DEFAULT_TIMEOUT)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            faults.append("timeout must be a positive number of seconds")
        if request.get("json") is not None and request.get("body") is not None:
            faults.append("give json or body, not both")
        if faults:
            raise self._error("invalid_request", "; ".join(faults), retryable=False)
        given = {str(key): value for key, value in request.items() if value is not None}
        if "body" in given:
            given["content"] = given.pop("body")
        return {**given, "timeout": timeout}

    def _result(self, answer: httpx.Response) -> ToolResult:
        status = answer.status_code
        payload = {"status": status, "headers": dict(answer.headers), "body": _body(answer)}
        if 200 <= status < 400:
            return ToolResult(payload, {"adapter": self.name, "url": str(answer.url)})
        is_retryable = status >= 500 or status == 429
        raise self._error(
            "http", f"the answer was HTTP {status}", details=payload, retryable=is_retryable
        )

    def _error(self, kind: str, message: str, *, retryable: bool, details: Any = None) -> ToolError:
        return ToolError(self.name, kind, message, details, retryable)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _body(answer: httpx.Response) -> Any:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return answer.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            return answer.text
    return answer.text

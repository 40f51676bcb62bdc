"""Tools, against a real HTTP server on this machine."""

from __future__ import annotations

import gzip
import json
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from flask_squidmesh import Retry, fixed
from flask_squidmesh.testing import freeze
from flask_squidmesh.tools import Adapter, HTTPAdapter, ToolError, ToolResult, invoke
from tests.contract.host import attempts, make_world, prepare, single


class Server(ThreadingHTTPServer):
    """Answers with the status in the path; `requests` are those it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.requests.append(
            {
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode(),
            }
        )
        what = self.path.strip("/").partition("?")[0]
        if what == "silence":
            self.server.is_over.wait(30)
        elif what == "hang-up":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif what in PAGES:
            self.send(200, *PAGES[what])
        else:
            self.send(int(what), "application/json", b'{"said": "something"}')

    def send(self, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for header in headers:
            self.send_header(*header)
        if 300 <= status < 400:
            self.send_header("Location", "/200")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  # the server's names

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


PAGES: dict[str, tuple[Any, ...]] = {
    "text": ("text/plain; charset=utf-8", "grüße".encode()),
    "problem": ("application/problem+json; charset=utf-8", b'{"code": 7}'),
    "not-json": ("application/json", b"{broken"),
    "garbled": ("text/plain", b"not gzip", ("Content-Encoding", "gzip")),
    "packed": ("text/plain", gzip.compress(b"packed"), ("Content-Encoding", "gzip")),
}


@pytest.fixture(scope="module")
def running_server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.is_over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def server(running_server: Server) -> Server:
    running_server.requests.clear()
    return running_server


def get(server: Server, path: str, **parts: Any) -> ToolResult:
    return invoke(HTTPAdapter(), {"method": "GET", "url": f"{server.url}/{path}", **parts})


def refused(request: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        invoke(HTTPAdapter(), request)
    return caught.value


# Results.


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 307])
def test_status_of_2xx_or_3xx_is_a_result(server, status):
    result = get(server, str(status))
    assert set(result.payload) == {"status", "headers", "body"}
    assert result.payload["status"] == status
    assert result.payload["headers"]["content-type"] == "application/json"
    assert len(server.requests) == 1
    json.dumps(result.payload)


def test_result_says_which_adapter_and_which_url(server):
    result = get(server, "200", params={"page": 2})
    assert result.metadata == {"adapter": "http", "url": f"{server.url}/200?page=2"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("200", {"said": "something"}),
        ("problem", {"code": 7}),
        ("text", "grüße"),
        ("not-json", "{broken"),
        ("packed", "packed"),
    ],
)
def test_body_is_data_where_the_answer_says_so_and_text_elsewhere(server, path, body):
    assert get(server, path).payload["body"] == body


def test_method_headers_and_parameters_are_sent(server):
    invoke(
        HTTPAdapter(),
        {
            "method": "DELETE",
            "url": f"{server.url}/200",
            "headers": {"X-Key": "k"},
            "params": {"page": 2, "q": "a b"},
        },
    )
    (sent,) = server.requests
    assert (sent["method"], sent["path"]) == ("DELETE", "/200?page=2&q=a+b")
    assert sent["headers"]["x-key"] == "k"


def test_json_is_sent_as_json(server):
    invoke(HTTPAdapter(), {"method": "POST", "url": f"{server.url}/200", "json": {"a": [1]}})
    (sent,) = server.requests
    assert sent["headers"]["content-type"] == "application/json"
    assert json.loads(sent["body"]) == {"a": [1]}


@pytest.mark.parametrize("body", ["a=1", b"a=1"])
def test_body_is_sent_as_it_is(server, body):
    invoke(HTTPAdapter(), {"method": "POST", "url": f"{server.url}/200", "body": body})
    assert server.requests[0]["body"] == "a=1"


def test_parts_that_are_none_are_left_out(server):
    none = dict.fromkeys(("headers", "params", "json", "body"))
    assert get(server, "200", **none).payload["status"] == 200


def test_client_of_the_caller_is_used_and_left_open(server):
    with httpx.Client(headers={"X-From": "the caller"}) as client:
        adapter = HTTPAdapter(client)
        for _ in range(2):
            invoke(adapter, {"method": "GET", "url": f"{server.url}/200"})
        assert not client.is_closed
    assert [sent["headers"]["x-from"] for sent in server.requests] == ["the caller"] * 2


# Failures.


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (409, False),
        (422, False),
        (428, False),
        (429, True),
        (430, False),
        (499, False),
        (500, True),
        (502, True),
        (503, True),
        (599, True),
    ],
)
def test_other_statuses_are_failures_that_say_whether_to_try_again(server, status, retryable):
    error = refused({"method": "GET", "url": f"{server.url}/{status}"})
    assert (error.adapter, error.kind, error.retryable) == ("http", "http", retryable)
    assert str(status) in str(error)
    details: Any = error.details
    assert set(details) == {"status", "headers", "body"}
    assert (details["status"], details["body"]) == (status, {"said": "something"})


def test_silence_is_a_timeout(server):
    error = refused({"method": "GET", "url": f"{server.url}/silence", "timeout": 0.05})
    assert (error.kind, error.retryable) == ("timeout", True)


def test_closed_port_is_a_failure_of_the_transport(server):
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    error = refused({"method": "GET", "url": f"http://127.0.0.1:{port}/"})
    assert (error.kind, error.retryable) == ("transport", True)


@pytest.mark.parametrize("path", ["hang-up", "garbled"])
def test_answer_that_can_not_be_read_is_a_failure_of_the_transport(server, path):
    error = refused({"method": "GET", "url": f"{server.url}/{path}"})
    assert (error.kind, error.retryable) == ("transport", True)


@pytest.mark.parametrize(
    "request_",
    [
        None,
        "GET /",
        [],
        {},
        {"method": "GET"},
        {"url": "http://127.0.0.1/"},
        {"method": "", "url": "http://127.0.0.1/"},
        {"method": "GET", "url": 5},
        {"method": "GET", "url": "no url at all"},
        {"method": "GET", "url": "/only/a/path"},
        {"method": "GET", "url": "ftp://127.0.0.1/"},
        {"method": "GET", "url": "http://127.0.0.1/", "unknown": 1},
        {"method": "GET", "url": "http://127.0.0.1/", "timeout": 0},
        {"method": "GET", "url": "http://127.0.0.1/", "timeout": -1},
        {"method": "GET", "url": "http://127.0.0.1/", "timeout": "5"},
        {"method": "GET", "url": "http://127.0.0.1/", "timeout": True},
        {"method": "GET", "url": "http://127.0.0.1/", "timeout": float("nan")},
        {"method": "POST", "url": "http://127.0.0.1/", "json": 1, "body": "x"},
        {"method": "POST", "url": "http://127.0.0.1/", "json": {1, 2}},
        {"method": "POST", "url": "http://127.0.0.1/", "body": 5},
        {"method": "GET", "url": "http://127.0.0.1/", "headers": 5},
        {"method": "GET", "url": "http://127.0.0.1/", "headers": {"a": 5}},
        {"method": "GET", "url": "http://127.0.0.1/", "headers": {"ä": "b"}},
    ],
)
def test_what_is_no_request_is_refused_and_not_tried_again(request_):
    error = refused(request_)
    assert (error.kind, error.retryable) == ("invalid_request", False)


@pytest.mark.parametrize("part", [{"method": "GE T"}, {"headers": {"a b": "c"}}])
def test_what_http_does_not_allow_is_refused_too(server, part):
    error = refused({"method": "GET", "url": f"{server.url}/200", **part})
    assert (error.kind, error.retryable, server.requests) == ("invalid_request", False, [])


def test_error_carries_its_facts_and_survives_pickling():
    error = ToolError("http", "timeout", "too slow", {"after": 5}, retryable=True)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    for each in (error, again):
        assert (each.adapter, each.kind, each.details, each.retryable) == (
            "http",
            "timeout",
            {"after": 5},
            True,
        )
        assert "too slow" in str(each)


# Adapters.


class Echo:
    """Any object with `invoke` will do."""

    def invoke(self, request: Any, context: Any) -> ToolResult:
        return ToolResult({"request": request, "context": context})


def test_any_object_with_invoke_is_an_adapter():
    adapter: Adapter = Echo()
    assert invoke(adapter, "ask", "who").payload == {"request": "ask", "context": "who"}
    assert invoke(adapter, "ask") == ToolResult({"request": "ask", "context": None}, {})


def test_result_is_frozen():
    result = ToolResult(1)
    with pytest.raises(AttributeError):
        result.payload = 2  # type: ignore[misc]  # the point


def test_what_is_no_adapter_is_refused():
    with pytest.raises(TypeError, match="invoke"):
        invoke(object(), "ask")  # type: ignore[arg-type]  # the point


def test_adapter_that_answers_with_something_else_is_refused():
    class Wrong:
        def invoke(self, request, context):
            return {"no": "result"}

    with pytest.raises(TypeError, match="ToolResult"):
        invoke(Wrong(), "ask")


# In a step.


@pytest.mark.parametrize(
    ("answers", "status", "made"),
    [
        ([503, 429, 200], "completed", 3),
        ([503, 503, 503], "failed", 3),
        ([404, 200], "failed", 1),
        ([422, 200], "failed", 1),
    ],
)
def test_tool_error_in_a_step_is_retried_only_if_it_is_retryable(
    server, sqlite_databases, answers, status, made
):
    def call(context):
        path = f"{server.url}/{answers[context.attempt - 1]}"
        return invoke(HTTPAdapter(), {"method": "GET", "url": path}, context).payload["body"]

    with make_world(sqlite_databases.create(prepare)) as world, freeze():
        run = world.run(single(call, retry=Retry(3, fixed(5))), advance=True)
    assert (run.status, len(attempts(run, "work"))) == (status, made)
    assert len(server.requests) == made
    if status == "completed":
        assert run.context == {"said": "something"}
    else:
        assert run.last_error is not None
        assert run.last_error["code"] == "exception"
        assert run.last_error["type"] == "flask_squidmesh.exceptions.ToolError"
        assert run.last_error["details"]["kind"] == "http"
        assert run.last_error["details"]["adapter"] == "http"
        assert run.last_error["details"]["details"]["status"] == answers[made - 1]

"""Bodies: JSON only, of a bounded size and depth, whatever stands in them."""

from __future__ import annotations

import io
import json

import pytest

from tests.http.host import errors, problem

LIMIT = 2000
START = "/workflows/order/runs"


def send(api, data, path=START, **options):
    return api.post(path, data=data, content_type="application/json", **options)


def text(extra):
    """Return a body with *extra*, which is JSON text, in its payload."""
    return f'{{"payload": {{"number": 1, "extra": {extra}}}}}'


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json, text/plain",
        "application/problem+json",
    ],
)
def test_bodies_of_another_type_are_refused(api, content_type):
    run = api.order()
    body = json.dumps({"payload": {"number": 1}})
    response = api.post(START, data=body, content_type=content_type)
    assert problem(response) == (415, "unsupported_media_type")
    for verb in ("approve", "reject", "unblock", "cancel", "replay"):
        response = api.post(f"/runs/{run.id}/{verb}", data="{}", content_type=content_type)
        assert problem(response) == (415, "unsupported_media_type")
    assert api.see(run.id) == run
    assert api.world.count_runs() == 1


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_json_however_it_is_written(api, content_type):
    body = json.dumps({"payload": {"number": 1}})
    assert api.post(START, data=body, content_type=content_type).status_code == 201


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"{'payload': {}}",
        b'{"payload": {"number": 1}} x',
        b'{"payload": {"number": NaN}}',
        b'{"payload": {"number": 1, "extra": Infinity}}',
        b'{"payload": {"number": 1, "extra": -Infinity}}',
        b'{"payload": {"number": 1, "extra": 1e999}}',
        b'{"payload": {"number": 1, "extra": %s}}' % (b"9" * 5000),
        b'{"payload": {"number": 1, "note": "\xff"}}',
        b'\xef\xbb\xbf{"payload": {"number": 1}}',
        '{"payload": {"number": 1}}'.encode("utf-16"),
        b'{"payload": {"number": 1, "note": "\x00"}}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"nothing",
    ],
)
def test_what_is_not_json_is_refused(api, data):
    response = send(api, data)
    assert problem(response) == (400, "invalid_json")
    assert api.world.count_runs() == 0


@pytest.mark.parametrize(
    "extra",
    [
        '"\\u0000"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"é\u2028"',
        '{"": {"\\u0000": null}}',
        "-0.0",
        "1e308",
        "123456789012345678901234567890",
        '{"a": 1, "a": 2}',
        "[" * 98 + "]" * 98,
    ],
)
def test_whatever_is_json_is_kept_and_told_as_it_is(api, extra):
    response = send(api, text(extra).encode())
    assert response.status_code == 201, response.get_data(as_text=True)
    assert response.json["payload"]["extra"] == json.loads(extra)
    listed = api.get("/runs").json["items"]
    assert [item["payload"]["extra"] for item in listed] == [json.loads(extra)]


@pytest.mark.parametrize("levels", [100, 101, 500])
def test_what_is_nested_too_deep_is_refused(api, levels):
    deep = "[" * levels + "]" * levels
    assert problem(send(api, text(deep))) == (422, "payload_invalid")
    run = api.order()
    response = send(api, f'{{"metadata": {{"a": {deep}}}}}', f"/runs/{run.id}/approve")
    assert problem(response) == (422, "invalid_decision")
    assert api.see(run.id) == run


@pytest.mark.parametrize("surrogate", ["\\ud800", "\\udfff", "\\u0000"])
def test_text_that_is_not_unicode_breaks_no_answer(api, surrogate):
    run = api.order()
    response = send(api, f'{{"comment": "{surrogate}x"}}', f"/runs/{run.id}/cancel")
    assert response.status_code == 200
    comment = api.get(f"/runs/{run.id}?include_history=1").json["audit_events"][-1]["comment"]
    assert comment == json.loads(f'"{surrogate}x"')
    body = f'{{"payload": {{"number": 1}}, "trigger": "{surrogate}"}}'
    assert problem(send(api, body)) == (404, "unknown_trigger")
    body = f'{{"payload": {{"{surrogate}": 1}}}}'
    assert problem(send(api, body)) == (422, "payload_invalid")


def test_a_payload_over_the_limit_is_refused(new_api):
    api = new_api(SQUIDMESH_MAX_DOCUMENT_BYTES=LIMIT)
    fits, too_long = ("x" * (LIMIT - len('{"number":1,"note":""}') + more) for more in (0, 1))
    assert api.post(START, {"payload": {"number": 1, "note": fits}}).status_code == 201
    response = api.post(START, {"payload": {"number": 1, "note": too_long}})
    assert problem(response) == (413, "document_too_large")
    assert api.world.count_runs() == 1


def test_a_payload_within_the_limit_may_be_indented(new_api):
    api = new_api(SQUIDMESH_MAX_DOCUMENT_BYTES=LIMIT)
    body = {"payload": {"number": 1, "extra": list(range(400))}}
    data = json.dumps(body, indent=4)
    assert len(data) > 2 * LIMIT
    assert send(api, data).status_code == 201


def test_a_body_over_the_limit_is_not_read(new_api):
    api = new_api(SQUIDMESH_MAX_DOCUMENT_BYTES=LIMIT)
    stream = io.BytesIO(b" " * 10_000)
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": "10000"}
    response = api.post(START, content_type="application/json", environ_overrides=environ)
    assert problem(response) == (413, "document_too_large")
    assert stream.tell() == 0


def test_a_body_of_unknown_length_is_read_up_to_the_limit(new_api):
    api = new_api(SQUIDMESH_MAX_DOCUMENT_BYTES=LIMIT)

    def chunked(data):
        stream = io.BytesIO(data)
        environ = {
            "wsgi.input": stream,
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "CONTENT_LENGTH": "",
        }
        return stream, api.post(START, content_type="application/json", environ_overrides=environ)

    _, response = chunked(b'{"payload": {"number": 1}}')
    assert response.status_code == 201
    stream, response = chunked(b" " * 5_000_000)
    assert problem(response) == (413, "document_too_large")
    assert stream.tell() < 500_000


def test_a_limit_of_the_host_holds_too(new_api):
    api = new_api(MAX_CONTENT_LENGTH=100)
    response = api.post(START, {"payload": {"number": 1, "note": "x" * 200}})
    assert problem(response) == (413, "document_too_large")


def test_a_body_that_the_host_has_looked_at_is_still_there(new_api):
    api = new_api()

    @api.world.app.before_request
    def look():
        from flask import request

        request.get_data()

    assert api.post(START, {"payload": {"number": 1}}).status_code == 201


def test_a_comment_over_the_limit_is_refused(new_api):
    api = new_api(SQUIDMESH_MAX_DOCUMENT_BYTES=LIMIT)
    run = api.order()
    response = api.post(f"/runs/{run.id}/approve", {"comment": "x" * LIMIT})
    assert problem(response) == (422, "invalid_decision")
    assert set(errors(response)) == {"comment"}
    assert api.see(run.id) == run


def test_the_hosts_own_json_changes_nothing(new_api):
    api = new_api()
    api.world.app.json.ensure_ascii = False
    api.world.app.json.sort_keys = True
    response = send(api, text('"\\ud800"'))
    assert response.status_code == 201
    assert next(iter(response.json)) == "id"

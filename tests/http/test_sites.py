"""Other sites, proxies, prefixes, and what else a host application brings along."""

from __future__ import annotations

import pytest
from flask import abort
from flask_wtf import CSRFProtect
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_squidmesh import SquidMesh
from tests.contract.host import db, make_app
from tests.http.host import Order, problem

START = "/workflows/order/runs"
VERBS = ("approve", "reject", "unblock", "cancel", "replay")
JSON = {"payload": {"number": 1}}
FORMS = {
    "form": {"data": {"comment": "x", "payload": "{}"}},
    "form of text": {"data": '{"payload": {"number": 1}, "a": "="}', "content_type": "text/plain"},
    "form with a file": {"data": {"a": "b"}, "content_type": "multipart/form-data"},
    "fetch without a type": {"data": b'{"payload": {"number": 1}}'},
    "nothing at all": {},
}


@pytest.fixture
def session_api(api):
    """Whoever comes with the session of a browser is that person."""
    app = api.world.app
    app.secret_key = "secret"

    @api.squidmesh.authorize
    def person(action, run):
        from flask import session

        return session.get("user")

    with api.client.session_transaction() as session:
        session["user"] = "ann"
    return api


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}], ids=["old", "new"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_of_another_site_changes_nothing(session_api, form, headers):
    run = session_api.order()
    for path in (START, *(f"/runs/{run.id}/{verb}" for verb in VERBS)):
        response = session_api.post(path, headers=headers, **form)
        expected = (403, "forbidden") if headers else (415, "unsupported_media_type")
        assert problem(response) == expected
    assert session_api.see(run.id) == run
    assert session_api.world.count_runs() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://["},
        {"Origin": ""},
    ],
)
def test_json_of_another_site_changes_nothing(session_api, headers):
    run = session_api.order()
    for path in (START, *(f"/runs/{run.id}/{verb}" for verb in VERBS)):
        body = JSON if path == START else {}
        assert problem(session_api.post(path, body, headers=headers)) == (403, "forbidden")
    assert session_api.see(run.id) == run
    # Reading is safe: the other site can send it, but not see the answer.
    assert session_api.get("/runs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
        {"Origin": "HTTP://LOCALHOST"},
        {},
    ],
)
def test_pages_of_the_host_and_programs_may_change(session_api, headers):
    assert session_api.post(START, JSON, headers=headers).status_code == 201


def test_preflight_of_another_site_is_not_answered(session_api):
    response = session_api.client.options(
        "/squidmesh/runs",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert problem(response) == (405, "method_not_allowed")
    assert "Access-Control-Allow-Origin" not in response.headers


def test_csrf_protection_of_the_host_is_lifted_by_exempting_the_blueprint(api):
    app = api.world.app
    app.secret_key = "secret"
    protection = CSRFProtect(app)
    refused = api.post(START, JSON)
    assert refused.status_code == 400
    assert api.world.count_runs() == 0
    protection.exempt(app.blueprints["squidmesh"])
    assert api.post(START, JSON).status_code == 201
    # What the blueprint does itself is left.
    other = {"Sec-Fetch-Site": "cross-site"}
    assert problem(api.post(START, JSON, headers=other)) == (403, "forbidden")


def test_another_prefix(new_api):
    api = new_api(SQUIDMESH_URL_PREFIX="/api/v1/flows")
    response = api.post(START, JSON)
    assert response.headers["Location"].startswith("/api/v1/flows/runs/")
    assert api.client.get(response.headers["Location"]).status_code == 200
    assert api.client.get("/squidmesh/runs").status_code == 404
    assert api.get("/openapi.json").json["servers"] == [{"url": "/api/v1/flows"}]


def test_mounted_below_another_application(api):
    app = api.world.app
    app.wsgi_app = DispatcherMiddleware(_nothing, {"/shop": app.wsgi_app})
    response = api.client.post(f"/shop/squidmesh{START}", json=JSON)
    assert response.headers["Location"].startswith("/shop/squidmesh/runs/")
    api.client.post(f"/shop/squidmesh{START}", json=JSON)
    page = api.client.get("/shop/squidmesh/runs?limit=1")
    assert page.headers["Link"].startswith("</shop/squidmesh/runs?")
    document = api.client.get("/shop/squidmesh/openapi.json").json
    assert document["servers"] == [{"url": "/shop/squidmesh"}]


def _nothing(environ, start_response):
    start_response("404 Not Found", [])
    return [b""]


def test_behind_a_proxy(api):
    app = api.world.app
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    forwarded = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example",
        "X-Forwarded-Prefix": "/shop",
    }
    response = api.post(START, JSON, headers={**forwarded, "Origin": "https://shop.example"})
    assert response.status_code == 201
    assert response.headers["Location"].startswith("/shop/squidmesh/runs/")
    response = api.post(START, JSON, headers={**forwarded, "Origin": "http://localhost"})
    assert problem(response) == (403, "forbidden")


def test_several_applications_keep_apart(url, new_api):
    first, second = new_api(), new_api(SQUIDMESH_URL_PREFIX="/other")
    second.authorizer.actor = None
    assert first.get("/runs").status_code == 200
    assert problem(second.get("/runs")) == (403, "forbidden")
    assert first.world.app.blueprints["squidmesh"] is not second.world.app.blueprints["squidmesh"]


def test_error_pages_of_the_host_do_not_take_the_place_of_problems(api):
    app = api.world.app
    for status in (400, 403, 404, 405, 409, 413, 415, 422, 500):
        app.register_error_handler(status, lambda error: ("<h1>Oops</h1>", error.code))
    run = api.order()
    assert problem(api.get("/runs/x")) == (400, "invalid_run_id")
    assert problem(api.get("/runs?limit=0")) == (400, "invalid_query")
    assert problem(api.post(f"/runs/{run.id}/unblock", {})) == (409, "wrong_step_kind")
    assert problem(api.post(START, data="{}")) == (415, "unsupported_media_type")
    assert problem(api.post(START, {})) == (422, "payload_invalid")
    api.authorizer.actor = 5
    assert problem(api.get("/runs")) == (500, "internal_error")
    api.authorizer.actor = None
    assert problem(api.get("/runs")) == (403, "forbidden")
    # They hold where the host decides.
    assert api.get("/elsewhere").get_data() == b"<h1>Oops</h1>"


def test_what_the_host_refuses_before_is_a_problem_too(api):
    @api.world.app.before_request
    def too_many():
        abort(429, "Slow down.")

    response = api.get("/runs")
    assert problem(response) == (429, "too_many_requests")
    assert response.get_json(force=True)["detail"] == "Slow down."


def test_an_unexpected_error_is_logged_and_not_told(caplog):
    app = make_app(
        "postgresql+psycopg://nobody:secret@127.0.0.1:1/none?connect_timeout=1",
        SQUIDMESH_BLUEPRINT=True,
    )
    squidmesh = SquidMesh(app, db=db)
    squidmesh.authorize(lambda *_: "ann")
    response = app.test_client().get("/squidmesh/runs")
    assert problem(response) == (500, "internal_error")
    assert not {"secret", "127.0.0.1", "psycopg"} & set(response.get_data(as_text=True).split())
    assert any(record.exc_info for record in caplog.records)


def test_what_is_not_configured_is_told_to_the_log_only(new_api, caplog):
    api = new_api(SQUIDMESH_DISPATCH="celery")
    response = api.post(START, JSON)
    assert problem(response) == (500, "internal_error")
    assert "celery" not in response.get_data(as_text=True)
    assert any("missing celery" in str(record.exc_info[1]) for record in caplog.records)


def test_the_host_may_link_to_the_routes(api):
    from flask import url_for

    run = api.squidmesh.start_run(Order, {"number": 1})
    with api.world.app.test_request_context():
        assert url_for("squidmesh.read_run", run_id=run.id) == f"/squidmesh/runs/{run.id}"

"""Closed by default, and nothing is told before it is granted."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, abort
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from flask_squidmesh import SquidMesh
from flask_squidmesh.http.views import ROUTES
from flask_squidmesh.operations import ACTIONS
from tests.contract.host import db, make_app
from tests.http.host import NOBODY, Order, errors, open_api, problem

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
DECISIONS = ("approve", "reject", "unblock", "cancel")
REQUESTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "empty object": {"json": {}},
    "broken JSON": {"data": b"{", "content_type": "application/json"},
    "wrong schema": {"json": {"actor": "mallory"}},
    "form": {"data": {"comment": "x"}},
    "another site": {"json": {}, "headers": {"Sec-Fetch-Site": "cross-site"}},
    "bad query": {"query_string": "limit=0&limit=x&status=none"},
    "bad key": {"json": {}, "headers": {"Idempotency-Key": ""}},
    "large": {"data": b"[" * 3_000_000, "content_type": "application/json"},
}


def paths(run_id):
    """Return the path of every route: about a run, no run, and what can be none."""
    for route in ROUTES:
        for one in (run_id, NOBODY, "x"):
            for name in ("order", "unknown"):
                path = route.rule.replace("<run_id>", one).replace("<name>", name)
                yield f"/squidmesh{path}"


def answers(api, run_id):
    """Return every answer to every request, told apart by what a client can see."""
    found = set()
    for path in sorted(set(paths(run_id))):
        for method in METHODS:
            for options in REQUESTS.values():
                response = api.client.open(path, method=method, **options)
                seen = (response.status_code, response.get_data(as_text=True))
                found.add((*seen, response.headers.to_wsgi_list().__repr__()))
    return found


@pytest.mark.parametrize("has_authorizer", [False, True])
def test_every_route_answers_403_and_nothing_else(api, has_authorizer):
    run = api.order()
    before = api.see(run.id)
    if has_authorizer:
        api.authorizer.refused.update(ACTIONS)
    else:
        api.world.app.extensions["squidmesh"].authority.ask = None

    found = answers(api, run.id)

    # One answer, and that without a body: to HEAD.
    assert {status for status, _, _ in found} == {403}
    (text,) = {text for _, text, _ in found} - {""}
    assert '"code": "forbidden"' in text
    assert len({headers for _, _, headers in found}) == 1
    assert api.see(run.id) == before
    assert api.world.count_runs() == 1


def test_without_an_authorizer_the_log_says_what_to_do(api, caplog):
    api.world.app.extensions["squidmesh"].authority.ask = None
    assert problem(api.get("/runs")) == (403, "forbidden")
    (record,) = caplog.records
    assert "register a function with @squidmesh.authorize" in record.getMessage()


def test_without_an_authorizer_not_even_the_database_is_asked():
    app = make_app("postgresql+psycopg://nobody@127.0.0.1:1/none", SQUIDMESH_BLUEPRINT=True)
    SquidMesh(app, db=db)
    response = app.test_client().get(f"/squidmesh/runs/{NOBODY}")
    assert problem(response) == (403, "forbidden")


def test_each_route_asks_about_its_action_and_its_run(api):
    run = api.order()
    asked: dict[str, set[str | None]] = {}
    for route in ROUTES:
        api.authorizer.asked.clear()
        path = route.rule.replace("<run_id>", run.id).replace("<name>", "order")
        api.authorizer.refused = {route.action}
        api.client.open(f"/squidmesh{path}", method=route.method, json={})
        ((action, about),) = api.authorizer.asked
        asked.setdefault(action, set()).add(about and about.id)
    assert set(asked) == {*ACTIONS} - {"runs:payload"}
    without = {"workflows:list", "runs:start", "runs:list", "api:describe"}
    assert asked == {a: {None if a in without else run.id} for a in asked}


def test_the_authorizer_sees_the_run(api):
    run = api.order(number=5)
    api.get(f"/runs/{run.id}/graph")
    ((_, about),) = api.authorizer.asked
    assert about == api.squidmesh.inspect_run(run.id)
    assert about.payload == {"number": 5}


@pytest.mark.parametrize(
    ("run_id", "expected"),
    [(NOBODY, (404, "run_not_found")), ("x", (400, "invalid_run_id"))],
)
def test_a_run_that_is_missing_is_asked_about_as_none_and_told_when_granted(api, run_id, expected):
    for path in ("", "/explanation", "/graph"):
        assert problem(api.get(f"/runs/{run_id}{path}")) == expected
    for verb in (*DECISIONS, "replay"):
        assert problem(api.post(f"/runs/{run_id}/{verb}", {})) == expected
    assert {run for _, run in api.authorizer.asked} == {None}


def test_a_method_that_is_not_there_is_told_when_granted(api):
    response = api.client.delete("/squidmesh/runs")
    assert problem(response) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD"
    assert problem(api.get(f"/runs/{NOBODY}/cancel")) == (404, "run_not_found")
    assert problem(api.get("/workflows/order/runs")) == (405, "method_not_allowed")


@pytest.mark.parametrize("actor", ["ann", {"id": 7, "groups": ["desk"]}])
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_the_actor_of_the_authorizer_is_recorded(api, verb, actor):
    run = api.order()
    api.authorizer.actor = actor
    assert api.post(f"/runs/{run.id}/{verb}", {"comment": "so be it"}).status_code == 200
    event = api.see(run.id).audit_events[1]
    assert (event.actor, event.comment) == (actor, "so be it")
    assert api.see(run.id).context["decision"]["actor"] == actor


def test_the_actor_is_recorded_with_every_verb(api):
    run = api.order_at_pause()
    api.post(f"/runs/{run.id}/unblock", {})
    api.post(f"/runs/{run.id}/cancel", {})
    again = api.post(f"/runs/{run.id}/replay", {}).json["id"]
    by_ann = [(event.type, event.actor) for event in api.see(run.id).audit_events[-2:]]
    assert by_ann == [("resumed", "ann"), ("cancelled", "ann")]
    ((event),) = api.see(again).audit_events
    assert (event.type, event.actor) == ("replayed", "ann")


@pytest.mark.parametrize("verb", [*DECISIONS, "replay"])
def test_a_body_can_not_name_an_actor(api, verb):
    run = api.order_at_pause() if verb == "unblock" else api.order()
    before = api.see(run.id)
    response = api.post(f"/runs/{run.id}/{verb}", {"actor": "mallory"})
    assert problem(response) == (422, "invalid_decision")
    assert errors(response) == {"actor": ["Unknown field."]}
    assert api.see(run.id) == before


@pytest.mark.parametrize(
    "actor", [True, False, 0, 7, "", "  ", {}, [], ["ann"], {1: "ann"}, {"it": object()}, object()]
)
def test_what_is_no_actor_grants_nothing(api, caplog, actor):
    run = api.order()
    before = api.see(run.id)
    api.authorizer.actor = actor
    response = api.post(f"/runs/{run.id}/approve", {})
    assert problem(response) == (500, "internal_error")
    assert api.see(run.id) == before
    (record,) = caplog.records
    assert "returned no actor" in str(record.exc_info[1])
    assert "runs:approve" not in response.get_data(as_text=True)


def data_of(run):
    """Return everything in a run's document that `runs:payload` covers."""
    steps = [*(run["steps"] or ()), *(run["step_runs"] or ())]
    return [
        run["payload"],
        run["context"],
        *(step[k] for step in steps for k in ("input", "output")),
    ]


def test_without_runs_payload_data_is_null(api):
    run = api.go(api.order_at_pause().id)
    shown = api.get(f"/runs/{run.id}?include_history=1").json
    assert [value for value in data_of(shown) if value is not None]
    api.authorizer.refused = {"runs:payload"}

    hidden = api.get(f"/runs/{run.id}?include_history=1").json
    assert set(map(repr, data_of(hidden))) == {"None"}
    for document in (shown, hidden):
        for step in [*document["steps"], *document["step_runs"], document]:
            for key in ("input", "output", "payload", "context"):
                step.pop(key, None)
    assert hidden == shown

    explained = api.get(f"/runs/{run.id}/explanation").json["evidence"]
    assert explained["run"]["payload"] is explained["run"]["context"] is None
    assert explained["step_run"]["input"] is explained["step_run"]["output"] is None
    (item,) = api.get("/runs").json["items"]
    assert item["payload"] is item["context"] is None
    started = api.post("/workflows/order/runs", {"payload": {"number": 2}}).json
    assert started["payload"] is started["context"] is None
    decided = api.post(f"/runs/{run.id}/unblock", {}).json
    assert decided["payload"] is decided["context"] is None
    replayed = api.post(f"/runs/{run.id}/replay", {}).json
    assert replayed["payload"] is replayed["context"] is None


def test_runs_payload_is_asked_for_each_run_of_a_list(api):
    for number in (1, 2, 3):
        api.squidmesh.start_run(Order, {"number": number})

    @api.squidmesh.authorize
    def only_odd(action, run):
        is_even = run is not None and run.payload["number"] % 2 == 0
        return None if action == "runs:payload" and is_even else "ann"

    payloads = [item["payload"] for item in api.get("/runs").json["items"]]
    assert payloads == [{"number": 3}, None, {"number": 1}]


def test_an_authorizer_may_abort_in_its_own_words(api):
    @api.squidmesh.authorize
    def ask_for_a_token(action, run):
        raise Unauthorized("No token.", www_authenticate=WWWAuthenticate("bearer"))

    response = api.get("/runs")
    assert problem(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"].lower().startswith("bearer")
    assert response.get_json(force=True)["detail"] == "No token."


def test_an_authorizer_may_answer_itself(api):
    @api.squidmesh.authorize
    def send_to_login(action, run):
        abort(api.world.app.redirect("/login"))

    response = api.get("/runs")
    assert (response.status_code, response.headers["Location"]) == (302, "/login")


def test_a_failing_authorizer_grants_nothing_and_tells_nothing(api, caplog):
    @api.squidmesh.authorize
    def broken(action, run):
        raise ZeroDivisionError("secret")

    response = api.post("/workflows/order/runs", {"payload": {"number": 1}})
    assert problem(response) == (500, "internal_error")
    assert "secret" not in response.get_data(as_text=True)
    assert api.world.count_runs() == 0
    assert any(record.exc_info for record in caplog.records)


def test_a_second_authorizer_takes_the_place_of_the_first(api):
    second = api.squidmesh.authorize(lambda *_: None)
    assert second("runs:list", None) is None
    assert problem(api.get("/runs")) == (403, "forbidden")


def test_one_authorizer_serves_every_application_of_an_object(url):
    squidmesh = SquidMesh(db=db)
    first, second = (make_app(url, SQUIDMESH_BLUEPRINT=True) for _ in range(2))
    squidmesh.init_app(first)

    @squidmesh.authorize
    def ann(action, run):
        return "ann"

    squidmesh.init_app(second)
    other = make_app(url, SQUIDMESH_BLUEPRINT=True)
    SquidMesh(other, db=db)
    found = [app.test_client().get("/squidmesh/runs").status_code for app in (first, second, other)]
    assert found == [200, 200, 403]
    for app in (first, second):
        with app.app_context():
            db.engine.dispose()


def test_the_blueprint_is_not_mounted_unless_asked_for(url):
    with open_api(url, SQUIDMESH_BLUEPRINT=False) as api:
        assert api.get("/runs").status_code == 404
        assert "squidmesh" not in api.world.app.blueprints


def test_what_is_not_a_route_is_the_hosts_business(api):
    response = api.get("/elsewhere")
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert isinstance(api.world.app, Flask)

"""Every route: what it answers, and what it refuses with which code."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from flask_squidmesh.signals import run_created, run_transition
from tests.contract.host import make_world
from tests.http.host import NOBODY, Order, Parallel, errors, problem

OUT_OF_THE_CALENDAR = (
    "after=" + urlsafe_b64encode(f"0001-01-01T00:00:00+14:00 {NOBODY}".encode()).decode()
)


def document(result):
    return result.to_dict()


def test_workflows_are_listed_with_their_definitions(api):
    response = api.get("/workflows")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.json == {
        "items": [Order.definition.to_dict(), Parallel.definition.to_dict()],
        "next": None,
    }


def test_started_run_is_answered_with_its_location(api):
    body = {"payload": {"number": 4}, "trigger": "desk"}
    response = api.post("/workflows/order/runs", body)
    assert response.status_code == 201
    run = api.squidmesh.inspect_run(response.json["id"])
    assert response.json == document(run)
    assert (run.trigger, run.payload, run.status) == ("desk", {"number": 4}, "pending")
    assert response.headers["Location"] == f"/squidmesh/runs/{run.id}"
    assert api.client.get(response.headers["Location"]).json["id"] == run.id


def test_a_run_is_read_with_and_without_its_history(api):
    run = api.order()
    assert api.get(f"/runs/{run.id}").json == document(run.without_history())
    for said in ("1", "true"):
        assert api.get(f"/runs/{run.id}?include_history={said}").json == document(run)
    for said in ("0", "false"):
        shown = api.get(f"/runs/{run.id}?include_history={said}").json
        assert shown["steps"] is shown["step_runs"] is shown["audit_events"] is None


def test_explanation_and_graph_are_those_of_the_calls(api):
    for run in (api.order(), api.squidmesh.start_run(Parallel)):
        explained = api.get(f"/runs/{run.id}/explanation")
        assert explained.json == document(api.squidmesh.explain_run(run.id))
        drawn = api.get(f"/runs/{run.id}/graph")
        assert drawn.json == document(api.squidmesh.inspect_run_graph(run.id))


def test_a_run_goes_through_all_decisions(api):
    run = api.order()
    said = {"comment": "fine", "metadata": {"ticket": 7}}
    response = api.post(f"/runs/{run.id}/approve", said)
    assert (response.status_code, response.json["status"]) == (200, "paused")
    assert response.json == document(api.squidmesh.inspect_run(run.id))
    response = api.post(f"/runs/{run.id}/unblock", said)
    assert (response.status_code, response.json["status"]) == (200, "running")
    done = api.go(run.id, advance=True)
    assert done.status == "completed"
    told = [(e.type, e.actor, e.comment, e.metadata) for e in done.audit_events]
    assert told == [
        ("paused", None, None, None),
        ("approved", "ann", "fine", {"ticket": 7}),
        ("paused", None, None, None),
        ("resumed", "ann", "fine", {"ticket": 7}),
    ]


def test_rejecting_takes_the_error_route(api):
    run = api.order()
    assert api.post(f"/runs/{run.id}/reject", {}).json["status"] == "running"
    failed = api.go(run.id)
    assert (failed.status, failed.last_error["code"]) == ("failed", "sold_out")
    assert api.get(f"/runs/{run.id}").json == document(failed.without_history())


def test_cancelling_ends_the_run(api):
    run = api.order()
    response = api.post(f"/runs/{run.id}/cancel", {"comment": "no more"})
    assert (response.status_code, response.json["status"]) == (200, "cancelled")
    assert api.see(run.id).audit_events[-1].comment == "no more"


def test_replaying_starts_another_run(api):
    run = api.order(number=9)
    response = api.post(f"/runs/{run.id}/replay", {})
    assert response.status_code == 201
    again = api.squidmesh.inspect_run(response.json["id"])
    assert response.json == document(again)
    assert (again.replayed_from_run_id, again.payload) == (run.id, {"number": 9})
    assert response.headers["Location"] == f"/squidmesh/runs/{again.id}"
    assert api.see(run.id) == run


def test_news_are_told_as_by_the_calls(api):
    told = []

    def note(sender, **values):
        told.append((values["run_id"], values.get("to_status")))

    with run_created.connected_to(note), run_transition.connected_to(note):
        run_id = api.post("/workflows/order/runs", {"payload": {"number": 1}}).json["id"]
        api.post(f"/runs/{run_id}/cancel", {})
        again = api.post(f"/runs/{run_id}/replay", {}).json["id"]
    assert told == [(run_id, None), (run_id, "cancelled"), (again, None)]


def test_pages_follow_one_another_by_cursor_and_by_link(api):
    ids = [api.squidmesh.start_run(Order, {"number": n}).id for n in range(7)]
    expected = [ids[6:3:-1], ids[3:0:-1], ids[0:1]]
    by_cursor, after = [], ""
    while after is not None:
        page = api.get(f"/runs?limit=3&workflow=order{after and '&after=' + after}").json
        by_cursor.append([item["id"] for item in page["items"]])
        after = page["next"]
    by_link, link = [], "/squidmesh/runs?limit=3&workflow=order"
    while link:
        response = api.client.get(link)
        by_link.append([item["id"] for item in response.json["items"]])
        link = response.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert by_cursor == by_link == expected


def test_runs_are_filtered(api):
    order, parallel = api.order(), api.squidmesh.start_run(Parallel)
    desk = api.squidmesh.start_run(Order, {"number": 2}, trigger="desk")

    def ids(query):
        return [item["id"] for item in api.get(f"/runs?{query}").json["items"]]

    assert ids("") == [desk.id, parallel.id, order.id]
    assert ids("workflow=parallel") == [parallel.id]
    assert ids("trigger=desk") == [desk.id]
    assert ids("status=paused") == [order.id]
    assert ids("workflow=order&status=pending") == [desk.id]
    assert ids("workflow=unknown") == ids("workflow=%F0%9F%98%80") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("status=none", "status"),
        ("status=", "status"),
        ("workflow=%00", "workflow"),
        ("trigger=a%00b", "trigger"),
        ("after=", "after"),
        ("after=none", "after"),
        ("after=%00", "after"),
        ("after=MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCAx", "after"),
        (OUT_OF_THE_CALENDAR, "after"),
        ("page=2", "page"),
        ("include_history=1", "include_history"),
    ],
)
def test_a_query_that_is_not_acceptable_names_the_field(api, query, field):
    response = api.get(f"/runs?{query}")
    assert problem(response) == (400, "invalid_query")
    assert list(errors(response)) == [field]


def test_a_run_is_read_with_known_parameters_only(api):
    run = api.order()
    for query in (
        "include_history=yes",
        "include_histroy=1",
        "include_history=1&include_history=1",
    ):
        assert problem(api.get(f"/runs/{run.id}?{query}")) == (400, "invalid_query")


def test_runs_do_not_start_where_the_workflow_or_trigger_is_unknown(api):
    response = api.post("/workflows/unknown/runs", {"payload": {}})
    assert problem(response) == (404, "unknown_workflow")
    # Which there are is for those who may list them.
    assert "parallel" not in response.get_data(as_text=True)
    body = {"payload": {"number": 1}, "trigger": "unknown"}
    assert problem(api.post("/workflows/order/runs", body)) == (404, "unknown_trigger")
    assert api.world.count_runs() == 0


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, {"number": ["Missing data for required field."]}),
        (
            {"number": "x", "more": 1},
            {"number": ["Not a valid integer."], "more": ["Unknown field."]},
        ),
        ({"number": 1, "note": 5}, {"note": ["Not a valid string."]}),
    ],
)
def test_a_payload_that_breaks_the_contract_is_told_field_by_field(api, payload, expected):
    response = api.post("/workflows/order/runs", {"payload": payload})
    assert problem(response) == (422, "payload_invalid")
    assert errors(response) == expected
    assert api.world.count_runs() == 0


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"payload"}),
        ({"payload": None}, {"payload"}),
        ({"payload": []}, {"payload"}),
        ({"payload": {"number": 1}, "trigger": 5}, {"trigger"}),
        ({"payload": {"number": 1}, "trigger": None}, {"trigger"}),
        ({"payload": {"number": 1}, "idempotency_key": "k"}, {"idempotency_key"}),
        ([], {"_schema"}),
        ("text", {"_schema"}),
    ],
)
def test_a_body_that_starts_a_run_has_the_documented_form(api, body, fields):
    response = api.post("/workflows/order/runs", body)
    assert problem(response) == (422, "payload_invalid")
    assert set(errors(response)) == fields
    assert api.world.count_runs() == 0


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"comment": ""}, {"comment"}),
        ({"comment": " \n"}, {"comment"}),
        ({"comment": 5}, {"comment"}),
        ({"comment": None}, {"comment"}),
        ({"metadata": []}, {"metadata"}),
        ({"comment": "", "metadata": "x"}, {"metadata"}),
        ({"decided_at": "now"}, {"decided_at"}),
        ([], {"_schema"}),
    ],
)
def test_a_decision_that_is_not_acceptable_is_told_field_by_field(api, body, fields):
    run = api.order()
    response = api.post(f"/runs/{run.id}/approve", body)
    assert problem(response) == (422, "invalid_decision")
    assert set(errors(response)) == fields
    assert all(isinstance(said, list) for said in errors(response).values())
    assert api.see(run.id) == run


def test_cancelling_takes_no_metadata(api):
    run = api.order()
    response = api.post(f"/runs/{run.id}/cancel", {"metadata": {}})
    assert problem(response) == (422, "invalid_decision")
    assert api.see(run.id) == run


def test_decisions_that_the_status_does_not_allow_say_which_it_is(api):
    run = api.squidmesh.start_run(Order, {"number": 1})
    for verb in ("approve", "reject", "unblock"):
        response = api.post(f"/runs/{run.id}/{verb}", {})
        assert problem(response) == (409, "invalid_transition")
        told = response.get_json(force=True)
        assert (told["current"], told["requested"]) == ("pending", verb)
    api.squidmesh.cancel_run(run.id)
    response = api.post(f"/runs/{run.id}/cancel", {})
    assert problem(response) == (409, "invalid_transition")
    assert response.get_json(force=True)["current"] == "cancelled"


def test_decisions_of_the_wrong_kind_say_which_it_is(api):
    run = api.order()
    response = api.post(f"/runs/{run.id}/unblock", {})
    assert problem(response) == (409, "wrong_step_kind")
    told = response.get_json(force=True)
    assert (told["step"], told["kind"]) == ("release", "approval")
    run = api.order_at_pause()
    for verb in ("approve", "reject"):
        response = api.post(f"/runs/{run.id}/{verb}", {})
        assert problem(response) == (409, "wrong_step_kind")


def test_a_workflow_that_is_gone_can_not_be_replayed(api, url):
    run = api.order()
    with make_world(url, SQUIDMESH_BLUEPRINT=True) as bare:
        bare.squidmesh.authorize(lambda *_: "ann")
        response = bare.app.test_client().post(f"/squidmesh/runs/{run.id}/replay", json={})
        assert problem(response) == (409, "definition_unavailable")
        # What was asked for can still be read and decided.
        read = bare.app.test_client().get(f"/squidmesh/runs/{run.id}")
        assert read.get_json()["status"] == "paused"


def test_answers_stay_out_of_caches(api):
    for response in (api.get("/runs"), api.get("/runs?limit=0")):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_head_answers_as_get_without_a_body(api):
    run = api.order()
    response = api.client.head(f"/squidmesh/runs/{run.id}")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.get_data() == b""

"""`Idempotency-Key`, on every POST: asked again, the same request happens once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.host import make_world
from tests.http.host import problem

START = "/workflows/order/runs"


def test_a_start_that_is_repeated_starts_one_run(api):
    first = api.post(START, {"payload": {"number": 1}}, key="k")
    again = api.post(START, {"payload": {"number": 1}}, key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert first.headers["Location"] == again.headers["Location"]
    assert api.world.count_runs() == 1


def test_a_start_with_the_same_key_and_something_else_is_a_conflict(api):
    first = api.post(START, {"payload": {"number": 1}}, key="k")
    response = api.post(START, {"payload": {"number": 2}}, key="k")
    assert problem(response) == (409, "idempotency_conflict")
    # Whose run it is, is for those who may read it.
    assert first.json["id"] not in response.get_data(as_text=True)
    assert api.world.count_runs() == 1


@pytest.mark.parametrize("verb", ["approve", "reject", "unblock", "cancel"])
def test_a_decision_that_is_repeated_is_made_once(api, verb):
    run = api.order_at_pause() if verb == "unblock" else api.order()
    body = {"comment": "because"}
    first = api.post(f"/runs/{run.id}/{verb}", body, key="k")
    events = api.see(run.id).audit_events
    again = api.post(f"/runs/{run.id}/{verb}", body, key="k")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json == again.json
    assert api.see(run.id).audit_events == events


def test_a_decision_that_is_repeated_is_answered_with_the_run_as_it_stands(api):
    run = api.order()
    api.post(f"/runs/{run.id}/approve", {}, key="k")
    api.squidmesh.unblock_run(run.id)
    api.go(run.id, advance=True)
    again = api.post(f"/runs/{run.id}/approve", {}, key="k")
    assert (again.status_code, again.json["status"]) == (200, "completed")


def test_without_the_key_a_decision_is_not_made_twice(api):
    run = api.order()
    api.post(f"/runs/{run.id}/cancel", {}, key="k")
    assert problem(api.post(f"/runs/{run.id}/cancel", {})) == (409, "invalid_transition")
    assert problem(api.post(f"/runs/{run.id}/cancel", {}, key="l")) == (409, "invalid_transition")


@pytest.mark.parametrize(
    ("verb", "body", "actor"),
    [
        ("reject", {"comment": "one"}, "ann"),
        ("cancel", {"comment": "one"}, "ann"),
        ("approve", {"comment": "two"}, "ann"),
        ("approve", {"comment": "one", "metadata": {}}, "ann"),
        ("approve", {"comment": "one"}, "bob"),
    ],
)
def test_a_key_that_comes_with_another_decision_is_a_conflict(api, verb, body, actor):
    run = api.order()
    api.post(f"/runs/{run.id}/approve", {"comment": "one"}, key="k")
    before = api.see(run.id)
    api.authorizer.actor = actor
    response = api.post(f"/runs/{run.id}/{verb}", body, key="k")
    assert problem(response) == (409, "idempotency_conflict")
    assert api.see(run.id) == before


def test_keys_of_decisions_belong_to_their_run(api):
    first, second = api.order(), api.order()
    for run in (first, second):
        assert api.post(f"/runs/{run.id}/approve", {}, key="k").status_code == 200
        assert api.see(run.id).audit_events[1].type == "approved"
    # And are others than those of starts and replays.
    assert api.post(START, {"payload": {"number": 1}}, key="k").status_code == 201
    assert api.post(f"/runs/{first.id}/replay", {}, key="k").status_code == 201


def test_a_decision_that_was_refused_leaves_its_key_free(api):
    run = api.squidmesh.start_run("order", {"number": 1})
    refused = api.post(f"/runs/{run.id}/approve", {}, key="k")
    assert problem(refused) == (409, "invalid_transition")
    api.go(run.id)
    assert api.post(f"/runs/{run.id}/approve", {}, key="k").status_code == 200


def test_a_replay_that_is_repeated_starts_one_run(api):
    run = api.order()
    first = api.post(f"/runs/{run.id}/replay", {}, key="k")
    again = api.post(f"/runs/{run.id}/replay", {}, key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert api.world.count_runs() == 2
    assert api.post(f"/runs/{run.id}/replay", {}, key="l").json["id"] != first.json["id"]
    assert api.world.count_runs() == 3


def test_a_replay_of_another_run_or_by_another_is_another_request(api):
    first, second = api.order(), api.order()
    one = api.post(f"/runs/{first.id}/replay", {}, key="k").json["id"]
    assert api.post(f"/runs/{second.id}/replay", {}, key="k").json["id"] != one
    api.authorizer.actor = "bob"
    response = api.post(f"/runs/{first.id}/replay", {}, key="k")
    assert problem(response) == (409, "idempotency_conflict")


def test_a_replay_is_repeated_also_when_the_workflow_is_gone(api, url):
    run = api.order()
    first = api.post(f"/runs/{run.id}/replay", {}, key="k")
    with make_world(url, SQUIDMESH_BLUEPRINT=True) as bare:
        bare.squidmesh.authorize(lambda *_: "ann")
        path = f"/squidmesh/runs/{run.id}/replay"
        options = {"json": {}, "headers": {"Idempotency-Key": "k"}}
        again = bare.app.test_client().post(path, **options)
    assert (again.status_code, again.get_json()["id"]) == (201, first.json["id"])


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a\tb", "é", "a\x7f"])
def test_a_key_that_can_be_none_is_refused(api, key):
    run = api.order()
    paths = [START, *(f"/runs/{run.id}/{verb}" for verb in ("approve", "cancel", "replay"))]
    for path in paths:
        body = {"payload": {"number": 1}} if path == START else {}
        environ = {"HTTP_IDEMPOTENCY_KEY": key}
        response = api.post(path, body, environ_overrides=environ)
        assert problem(response) == (400, "invalid_idempotency_key")
    assert api.see(run.id) == run
    assert api.world.count_runs() == 1


def test_longest_key_is_kept(api):
    run = api.order()
    for path, body in ((START, {"payload": {"number": 1}}), (f"/runs/{run.id}/replay", {})):
        first, again = (api.post(path, body, key="x" * 255) for _ in range(2))
        assert first.json["id"] == again.json["id"]


@pytest.mark.parametrize("verb", ["approve", "replay", "cancel"])
def test_of_many_repetitions_at_once_one_takes_place(api, verb):
    run = api.order()
    app = api.world.app

    def ask(_):
        response = app.test_client().post(
            f"/squidmesh/runs/{run.id}/{verb}", json={}, headers={"Idempotency-Key": "k"}
        )
        return response.status_code, response.json["id"]

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(ask, range(12)))
    assert len(answers) == 1
    events = [e.type for e in api.see(run.id).audit_events]
    assert events.count({"approve": "approved", "cancel": "cancelled"}.get(verb)) == (
        verb != "replay"
    )
    assert api.world.count_runs() == (2 if verb == "replay" else 1)

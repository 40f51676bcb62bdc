"""What the JSON interface answers."""

from __future__ import annotations

import pytest

from flask_squidmesh import testing

REFUND = {"account_id": "ada", "amount": 1500, "reason": "charged twice"}
INVOICE = {"account_id": "ada", "invoice_id": "invoice-ada"}
TRANSFER = {"account_id": "ada", "reference": "T-1", "amount": 900}
OLIVIA = {"X-Actor": "olivia@example.org"}
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def paused(app, client):
    """The URL of a run that waits for a decision."""
    url = client.post("/approvals", json=REFUND).headers["Location"]
    with app.app_context():
        testing.run_until_idle()
    return url


def refusal(answer):
    document = answer.json
    assert document["status"] == answer.status_code
    assert document["detail"]
    return answer.status_code, document["code"]


def test_started_run_is_answered_with_its_place(client):
    answer = client.post("/payment-recoveries", json=INVOICE)
    run = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/runs/{run['id']}"
    assert (run["workflow"], run["status"]) == ("payment_recovery", "pending")
    assert client.get(answer.headers["Location"]).json == run


def test_same_idempotency_key_starts_one_run(client):
    key = {"Idempotency-Key": "order-7"}
    first = client.post("/payment-recoveries", json=INVOICE, headers=key).json
    again = client.post("/payment-recoveries", json=INVOICE, headers=key).json
    assert first["id"] == again["id"]
    other = {"account_id": "grace", "invoice_id": "invoice-grace"}
    conflict = client.post("/payment-recoveries", json=other, headers=key)
    assert refusal(conflict) == (409, "idempotency_conflict")


def test_history_is_shown_when_asked_for(client, paused):
    assert client.get(paused).json["steps"] is None
    shown = client.get(f"{paused}?include_history=1").json
    assert [each["status"] for each in shown["steps"]] == [
        "completed",
        "paused",
        "not_started",
        "not_started",
    ]
    assert [event["type"] for event in shown["audit_events"]] == ["paused"]


def test_runs_are_listed_newest_first_in_pages(client):
    first = client.post("/payment-recoveries", json=INVOICE).json["id"]
    second = client.post("/approvals", json=REFUND).json["id"]
    page = client.get("/runs?limit=1").json
    assert [run["id"] for run in page["items"]] == [second]
    rest = client.get(f"/runs?after={page['next']}").json
    assert [run["id"] for run in rest["items"]] == [first]
    assert rest["next"] is None
    chosen = client.get("/runs?workflow=manual_approval&status=pending").json["items"]
    assert [run["id"] for run in chosen] == [second]


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "status=asleep", "colour=red"])
def test_list_refuses_what_it_does_not_understand(client, query):
    assert refusal(client.get(f"/runs?{query}")) == (400, "bad_request")


@pytest.mark.parametrize(("verb", "recorded"), [("approve", "approved"), ("reject", "rejected")])
def test_decision_is_recorded_with_actor_and_comment(client, paused, verb, recorded):
    answer = client.post(f"{paused}/{verb}", json={"comment": "seen"}, headers=OLIVIA)
    assert (answer.status_code, answer.json["status"]) == (200, "running")
    events = client.get(f"{paused}?include_history=1").json["audit_events"]
    assert [(each["type"], each["actor"], each["comment"]) for each in events] == [
        ("paused", None, None),
        (recorded, "olivia@example.org", "seen"),
    ]


def test_cancelled_run_is_over(client, paused):
    assert client.post(f"{paused}/cancel", json={}, headers=OLIVIA).json["status"] == "cancelled"
    again = client.post(f"{paused}/cancel", json={}, headers=OLIVIA)
    assert refusal(again) == (409, "invalid_transition")


def test_decision_needs_an_actor(client, paused):
    answer = client.post(f"{paused}/approve", json={})
    assert refusal(answer) == (422, "invalid_decision")
    assert list(answer.json["errors"]) == ["actor"]
    assert client.get(paused).json["status"] == "paused"


def test_approval_is_not_unblocked(client, paused):
    answer = client.post(f"{paused}/unblock", json={}, headers=OLIVIA)
    assert refusal(answer) == (409, "wrong_step_kind")


def test_run_that_is_not_paused_is_not_approved(client):
    url = client.post("/payment-recoveries", json=INVOICE).headers["Location"]
    answer = client.post(f"{url}/approve", json={}, headers=OLIVIA)
    assert refusal(answer) == (409, "invalid_transition")


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({}, ["account_id", "amount", "reason"]),
        ({**REFUND, "amount": 0}, ["amount"]),
        ({**REFUND, "amount": "much"}, ["amount"]),
        ({**REFUND, "colour": "red"}, ["colour"]),
    ],
)
def test_wrong_payload_is_refused_and_nothing_is_stored(client, payload, fields):
    answer = client.post("/approvals", json=payload)
    assert refusal(answer) == (422, "payload_invalid")
    assert sorted(answer.json["errors"]) == fields
    assert client.get("/runs").json["items"] == []


def test_payload_that_is_too_large_is_refused(client):
    answer = client.post("/approvals", json={**REFUND, "reason": "x" * 2**20})
    assert refusal(answer) == (413, "document_too_large")


def test_caller_does_not_choose_the_gateway(client, gateway):
    chosen = {**INVOICE, "gateway_url": "http://127.0.0.1:1/"}
    run = client.post("/payment-recoveries", json=chosen).json
    assert run["payload"]["gateway_url"] == gateway.url


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": "{", "content_type": "application/json"}, (400, "bad_request")),
        ({"json": ["a list"]}, (400, "bad_request")),
        ({"data": "amount=1"}, (415, "unsupported_media_type")),
    ],
)
def test_body_that_is_no_json_object_is_refused(client, body, expected):
    assert refusal(client.post("/approvals", **body)) == expected


def test_actor_does_not_come_from_the_body(client, paused):
    answer = client.post(f"{paused}/approve", json={"actor": "somebody else"}, headers=OLIVIA)
    assert refusal(answer) == (400, "bad_request")


STARTED = {
    "/payment-recoveries": ("payment_recovery", INVOICE),
    "/payment-plans": ("dependency_recovery", INVOICE),
    "/approvals": ("manual_approval", REFUND),
    "/digests": ("daily_digest", {"day": "2026-11-02"}),
    "/reminders": ("cancellable_wait", INVOICE),
    "/transfer-verifications": ("retry_verification", TRANSFER),
    "/checkouts": ("local_ledger_checkout", INVOICE),
}


@pytest.mark.parametrize("path", STARTED)
def test_every_workflow_is_started_through_the_interface(client, path):
    workflow, payload = STARTED[path]
    run = client.post(path, json=payload).json
    assert (run["workflow"], run["status"]) == (workflow, "pending")
    explained = client.get(f"/runs/{run['id']}/explanation").json
    assert explained["reason"] == "pending_dispatch"


def test_account_is_shown_with_all_that_happened_to_it(client):
    assert client.get("/accounts/ada").json == {
        "id": "ada",
        "email": "ada@example.org",
        "balance": 0,
        "invoices": {"invoice-ada": "open"},
        "credits": [],
        "ledger": [],
        "notifications": [],
    }
    assert refusal(client.get("/accounts/nobody")) == (404, "unknown_account")


def test_bank_may_tell_of_a_transfer_twice(client):
    assert [client.post("/transfers", json=TRANSFER).status_code for _ in range(2)] == [201, 200]
    assert refusal(client.post("/transfers", json={})) == (400, "bad_request")
    unknown = client.post("/transfers", json={**TRANSFER, "account_id": "nobody"})
    assert refusal(unknown) == (404, "unknown_account")


def test_invoice_that_is_being_paid_is_refused(client):
    client.post("/checkouts", json=INVOICE)
    assert refusal(client.post("/checkouts", json=INVOICE)) == (409, "invoice_not_open")


@pytest.mark.parametrize("verb", ["approve", "reject", "unblock", "cancel"])
def test_unknown_run_can_not_be_decided(client, verb):
    answer = client.post(f"/runs/{NOBODY}/{verb}", json={}, headers=OLIVIA)
    assert refusal(answer) == (404, "run_not_found")


def test_unknown_and_malformed_ids_are_told_apart(client):
    assert refusal(client.get(f"/runs/{NOBODY}")) == (404, "run_not_found")
    assert refusal(client.get("/runs/the-first-one")) == (400, "invalid_run_id")
    assert refusal(client.get("/nowhere")) == (404, "not_found")
    assert refusal(client.get("/approvals")) == (405, "method_not_allowed")

"""People decide, without scripts: told beforehand, once, and told who was faster."""

from __future__ import annotations

import pytest

from tests.http.host import Order
from tests.ui.host import Twice, locations


@pytest.mark.parametrize(
    ("verb", "event", "after"),
    [
        ("approve", "approved", "paused"),
        ("reject", "rejected", "failed"),
    ],
)
def test_from_the_inbox_to_the_audit_entry(dashboard, verb, event, after):
    run = dashboard.order()
    inbox = dashboard.get("/inbox")
    link = inbox.one(f"#waiting-{run.id} a.sq-button")
    page = dashboard.get(str(link["href"]).removeprefix(dashboard.prefix))
    assert page.text("[data-leads=approve]") == "It stops at hold, for the next answer."
    assert page.text("[data-leads=reject]") == "It goes on to put_back, and then completes."

    sent = dashboard.press(page, verb, comment=" looked at it\r\ntwice ")

    assert (sent.status, locations(sent)) == (303, f"{dashboard.prefix}/runs/{run.id}")
    shown = dashboard.get(f"/runs/{run.id}")
    assert shown.text("#last-answer").startswith(f"ann {event} it at release")
    assert shown.one(f"#audit [data-event={event}] blockquote").get_text() == "looked at it\ntwice"
    assert (event, "ann", "looked at it\ntwice") in dashboard.audit(run.id)
    assert dashboard.go(run.id).status == after
    assert f"#waiting-{run.id}" not in dashboard.get("/inbox") or verb == "approve"


def test_a_pause_is_ended(dashboard):
    run = dashboard.order_at_pause()
    page = dashboard.get(f"/runs/{run.id}")
    leads_to = "It goes on to cool_down (waits 1 min), then ship, and then completes."
    assert page.text("[data-leads=unblock]") == leads_to
    assert dashboard.press(page, "unblock").status == 303
    assert dashboard.audit(run.id)[-1] == ("resumed", "ann", None)


def test_a_run_is_cancelled_after_a_page_that_says_what_that_does(dashboard):
    run = dashboard.order()
    offer = dashboard.get(f"/runs/{run.id}").one("[data-offer=cancel]")
    page = dashboard.get(str(offer["href"]).removeprefix(dashboard.prefix))
    assert page.text("[data-leads=cancel]").startswith("The run ends at once, as cancelled.")
    assert dashboard.press(page, "cancel", comment="not needed").status == 303
    assert dashboard.see(run.id).status == "cancelled"
    assert dashboard.audit(run.id)[-1] == ("cancelled", "ann", "not needed")
    assert "ann cancelled the run" in dashboard.get(f"/runs/{run.id}").text("#why")


def test_a_run_is_replayed_with_a_comment(dashboard):
    run = dashboard.failed_order()
    page = dashboard.get(f"/runs/{run.id}/replay")
    assert "A new run starts from the payload of this one, at reserve" in page.text(
        "[data-leads=replay]"
    )
    sent = dashboard.press(page, "replay", comment="stock is back")
    new = locations(sent).rsplit("/", 1)[1]
    assert dashboard.see(new).replayed_from_run_id == run.id
    assert dashboard.audit(new) == [("replayed", "ann", "stock is back")]
    assert dashboard.see(run.id) == run
    assert run.id in dashboard.get(f"/runs/{new}").text("#facts")


def test_a_run_is_started(dashboard):
    page = dashboard.get("/workflows/order/start?trigger=desk")
    assert page.text("option[selected]") == "desk"
    assert page.fields()["payload"] == '{\n  "number": null\n}'
    sent = dashboard.press(page, "start", payload='{"number": 7}', trigger="desk")
    run = dashboard.see(locations(sent).rsplit("/", 1)[1])
    assert (run.workflow, run.trigger, run.payload) == ("order", "desk", {"number": 7})


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("{", "This is not JSON"),
        ("[]", "The payload is a JSON object"),
        ('{"number": NaN}', "This is not JSON"),
        ("[" * 5_000, "nested too deeply"),
        ('{"number": "x"}', "number: Not a valid integer."),
        ('{"<b>": 1, "number": 1}', "<b>: Unknown field."),
    ],
)
def test_a_payload_that_is_refused_is_kept_to_be_corrected(dashboard, payload, said):
    page = dashboard.get("/workflows/order/start")
    refused = dashboard.press(page, "start", payload=payload)
    assert refused.status == 422
    assert said in refused.text("#not-accepted")
    assert refused.fields()["payload"] == payload
    assert dashboard.world.count_runs() == 0


def test_an_unknown_trigger_or_workflow_starts_nothing(dashboard):
    page = dashboard.get("/workflows/order/start")
    assert dashboard.press(page, "start", trigger="none", payload='{"number": 1}').status == 422
    fields = page.fields()
    assert dashboard.post("/workflows/none/start", fields).status == 404
    assert dashboard.get("/workflows/none/start").status == 404
    assert dashboard.world.count_runs() == 0


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_whoever_is_late_is_told_by_whom_and_nothing_is_changed(dashboard, verb):
    run = dashboard.order()
    page = dashboard.get(f"/runs/{run.id}" if verb != "cancel" else f"/runs/{run.id}/cancel")
    dashboard.squidmesh.cancel_run(run.id, actor={"name": "Bob", "id": 4}, comment="too <b>old")
    before = dashboard.see(run.id)

    late = dashboard.press(page, verb, comment="my reasons")

    assert late.status == 409
    said = late.text("#too-late")
    assert said.startswith("Too late. Bob cancelled the run less than a minute ago, on 20")
    assert "was not carried out" in said
    assert late.texts("#too-late blockquote") == ["too <b>old", "my reasons"]
    assert "button[data-verb]" not in late
    assert dashboard.see(run.id) == before


def test_an_answer_is_only_for_the_question_that_was_seen(dashboard):
    run = dashboard.go(dashboard.squidmesh.start_run(Twice).id)
    page = dashboard.get(f"/runs/{run.id}")
    dashboard.squidmesh.approve_run(run.id, actor="bob")
    before = dashboard.see(run.id)
    assert before.current_step == "second"  # the same kind of question, at once

    late = dashboard.press(page, "reject", comment="no")

    assert late.status == 409
    assert "bob approved it" in late.text("#too-late")
    assert dashboard.see(run.id) == before


def test_the_same_form_sent_twice_does_its_work_once(dashboard):
    run = dashboard.go(dashboard.squidmesh.start_run(Twice).id)
    page = dashboard.get(f"/runs/{run.id}")
    first, second = (dashboard.press(page, "approve", comment="yes") for _ in range(2))
    assert (first.status, second.status) == (303, 303)
    assert [e[0] for e in dashboard.audit(run.id)] == ["paused", "approved", "paused"]

    page = dashboard.get(f"/runs/{run.id}/cancel")
    assert [dashboard.press(page, "cancel").status for _ in range(2)] == [303, 303]
    page = dashboard.get(f"/runs/{run.id}/replay")
    targets = {locations(dashboard.press(page, "replay")) for _ in range(2)}
    assert len(targets) == 1
    page = dashboard.get("/workflows/order/start")
    started = {locations(dashboard.press(page, "start", payload='{"number": 1}')) for _ in range(2)}
    assert len(started) == 1
    assert dashboard.press(page, "start", payload='{"number": 2}').status == 409
    assert dashboard.world.count_runs() == 3


def test_both_answers_of_one_form_are_not_given(dashboard):
    run = dashboard.order()
    page = dashboard.get(f"/runs/{run.id}")
    assert dashboard.press(page, "approve").status == 303
    late = dashboard.press(page, "reject")
    assert late.status == 409
    assert "ann approved it" in late.text("#too-late")


@pytest.mark.parametrize("comment", ["\x00", "a\ud800b", "x" * 2_000_000])
def test_a_comment_that_can_not_be_kept_is_refused(new_dashboard, comment):
    dashboard = new_dashboard(MAX_FORM_MEMORY_SIZE=None, SQUIDMESH_MAX_DOCUMENT_BYTES=1_000_000)
    run = dashboard.order()
    page = dashboard.get(f"/runs/{run.id}")
    data = comment.encode("utf-8", "surrogatepass")
    sent = dashboard.press(page, "approve", comment=data)
    if sent.status == 303:  # what can be stored is stored, and shown with every character
        assert "\x00" not in dashboard.get(f"/runs/{run.id}").html
    else:
        assert sent.status == 422
        assert dashboard.see(run.id) == run


@pytest.mark.parametrize(
    ("step", "visit"),
    [("", ""), ("release", "x"), ("release", "-1"), ("hold", "1"), ("release", "2"), ("none", "1")],
)
def test_a_form_that_names_another_question_answers_none(dashboard, step, visit):
    run = dashboard.order()
    fields = dashboard.get(f"/runs/{run.id}").fields("#question-form")
    sent = dashboard.post(f"/runs/{run.id}/approve", {**fields, "step": step, "visit": visit})
    assert sent.status in (400, 404, 409)
    assert dashboard.see(run.id) == run


@pytest.mark.parametrize("verb", ["approve", "reject", "unblock"])
def test_the_address_of_an_answer_leads_to_the_question_when_it_is_only_opened(dashboard, verb):
    run = dashboard.order()
    page = dashboard.get(f"/runs/{run.id}/{verb}")
    assert (page.status, locations(page)) == (
        303,
        f"{dashboard.prefix}/runs/{run.id}/decisions/release/1",
    )
    dashboard.squidmesh.cancel_run(run.id)
    assert (
        locations(dashboard.get(f"/runs/{run.id}/decision")) == f"{dashboard.prefix}/runs/{run.id}"
    )


def test_a_link_to_a_question_tells_later_who_answered_it(dashboard):
    run = dashboard.order()
    address = f"/runs/{run.id}/decisions/release/1"
    assert "#question-form" in dashboard.get(address)
    assert "#not-asked" in dashboard.get(f"/runs/{run.id}/decisions/hold/1")
    dashboard.squidmesh.approve_run(run.id, actor="bob", comment="fine")
    page = dashboard.get(address)
    assert page.text("#answered").startswith("bob approved it")
    assert "#question-form" not in page
    for wrong in ("reserve/1", "none/1", "release/0"):
        assert dashboard.get(f"/runs/{run.id}/decisions/{wrong}").status == 404


def test_what_is_over_can_not_be_cancelled_and_what_is_not_can_not_be_replayed_here(dashboard):
    over, live = dashboard.failed_order(), dashboard.order()
    assert "#not-possible" in dashboard.get(f"/runs/{over.id}/cancel")
    assert "#not-possible" in dashboard.get(f"/runs/{live.id}/replay")
    offers = [dashboard.get(f"/runs/{r.id}").soup.select("[data-offer]") for r in (over, live)]
    assert [[str(o["data-offer"]) for o in found] for found in offers] == [["replay"], ["cancel"]]


def test_the_actor_is_the_authorizers_and_no_field_can_name_another(dashboard):
    run = dashboard.order()
    dashboard.authorizer.actor = {"id": 7}
    page = dashboard.get(f"/runs/{run.id}")
    dashboard.press(page, "approve", actor="mallory", metadata="{}")
    assert dashboard.audit(run.id)[1][:2] == ("approved", {"id": 7})


def test_the_sender_of_an_order_without_code_decides_all_the_same(dashboard):
    run = dashboard.order()
    registry = dashboard.world.app.extensions["squidmesh"].registry
    registry._shared._classes.pop(Order.name)
    page = dashboard.get(f"/runs/{run.id}")
    assert dashboard.press(page, "approve").status == 303
    assert dashboard.get(f"/runs/{run.id}").status == 200

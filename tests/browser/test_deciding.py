"""People decide: they read what will happen, answer once, and see what came of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from flask_squidmesh import Run
from flask_squidmesh.testing import run_until_idle
from tests.browser.conftest import PHONE, Host, Person
from tests.browser.host import Charge, Refund, Settlement

Visit = Callable[..., Person]


def asked(host: Host, account: str = "ada") -> Run:
    """Return a refund that waits for a decision."""
    run = host.squidmesh.start_run(Refund, {"account": account, "amount": 4711})
    run_until_idle()
    return run


def audit(host: Host, run: Run) -> list[tuple[str, object, str | None]]:
    found = host.squidmesh.inspect_run(run.id, include_history=True).audit_events or ()
    return [(event.type, event.actor, event.comment) for event in found]


def go_to_question(page: Page) -> None:
    page.get_by_role("link", name="Inbox", exact=True).click()
    page.get_by_role("link", name="Look and answer: refund").click()


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE}], ids=["desktop", "phone"])
def test_person_approves_and_sees_the_run_go_on(host: Host, visit: Visit, options):
    run = asked(host)
    page = visit("ada", **options).page
    page.get_by_role("link", name="Inbox", exact=True).click()
    card = page.locator(f"#waiting-{run.id}")
    expect(card.locator(".sq-answer-approve")).to_contain_text("pay_back")
    expect(card.locator(".sq-answer-reject")).to_contain_text("tell_why_not")
    card.get_by_role("link").first.click()
    expect(page.locator("#leads-approve")).to_contain_text("pay_back")
    page.get_by_label("Comment").fill("Charged twice, I have checked.")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#run-status")).to_contain_text("running")
    shown = page.url
    run_until_idle()
    expect(page.locator("#run-status")).to_contain_text("completed", timeout=15_000)
    assert page.url == shown
    entry = page.locator("#audit-list li").filter(has_text="Charged twice, I have checked.")
    expect(entry).to_contain_text("ada")
    assert ("approved", "ada", "Charged twice, I have checked.") in audit(host, run)


def test_person_rejects_and_the_error_route_is_taken(host: Host, visit: Visit):
    run = asked(host)
    page = visit("grace").page
    go_to_question(page)
    page.get_by_label("Comment").fill("Not ours")
    page.get_by_role("button", name="Reject").click()
    run_until_idle()
    expect(page.locator("#run-status")).to_contain_text("completed", timeout=15_000)
    history = host.squidmesh.inspect_run(run.id, include_history=True)
    assert [s.step for s in history.step_runs or ()] == ["load_account", "agree", "tell_why_not"]
    assert ("rejected", "grace", "Not ours") in audit(host, run)


def test_who_loses_the_race_is_told_by_whom(host: Host, visit: Visit):
    run = asked(host)
    ada, grace = visit("ada"), visit("grace")
    for person in (ada, grace):
        go_to_question(person.page)
    grace.page.get_by_label("Comment").fill("Better not")
    grace.page.get_by_role("button", name="Reject").click()
    expect(grace.page.locator("#run-status")).to_contain_text("running")
    ada.page.get_by_label("Comment").fill("Fine with me")
    with ada.page.expect_response(lambda r: r.request.method == "POST") as sent:
        ada.page.get_by_role("button", name="Approve").click()
    assert sent.value.status == 409
    late = ada.page.locator("#too-late")
    expect(late).to_contain_text("grace")
    expect(late).to_contain_text("Better not")
    expect(late).to_contain_text("Fine with me")
    assert [type_ for type_, _, _ in audit(host, run)][-1] == "rejected"
    ada.forgive("409")


def test_opening_a_mailed_link_decides_nothing(host: Host, visit: Visit):
    run = asked(host)
    person = visit("ada")
    for path in ("decision", "decisions/agree/1", "approve", "reject"):
        person.open(f"runs/{run.id}/{path}")
        expect(person.page.get_by_role("button", name="Approve")).to_be_visible()
    assert host.squidmesh.inspect_run(run.id).status == "paused"


def test_everything_works_without_script(host: Host, visit: Visit):
    run = asked(host)
    person = visit("ada", java_script_enabled=False)
    page = person.page
    go_to_question(page)
    page.get_by_label("Comment").fill("no script")
    page.get_by_role("button", name="Approve").click()
    run_until_idle()
    page.locator("#reload").click()
    expect(page.locator("#run-status")).to_contain_text("completed")
    assert ("approved", "ada", "no script") in audit(host, run)
    page.locator("[data-offer=replay]").click()
    page.get_by_role("button", name="Replay the run").click()
    expect(page.get_by_text("Replay of")).to_be_visible()
    page.locator("[data-offer=cancel]").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#run-status")).to_contain_text("cancelled")


def test_everything_works_with_the_keyboard(host: Host, visit: Visit):
    run = asked(host)
    page = visit("ada").page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, "Inbox")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Inbox", exact=True)).to_be_visible()
    tab_to(page, "Look and answer")
    page.keyboard.press("Enter")
    expect(page.locator("#question-form")).to_be_visible()
    tab_to(page, "Comment")
    page.keyboard.type("by keyboard")
    tab_to(page, "Approve")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    expect(page.locator("#run-status")).to_contain_text("running")
    assert ("approved", "ada", "by keyboard") in audit(host, run)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called *name*."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(() => { const e = document.activeElement;"
            " return (e.labels && e.labels[0] ? e.labels[0].innerText : '')"
            " + (e.getAttribute('aria-label') || '') + e.innerText; })()"
        )
        if name in focused:
            return
    raise AssertionError(f"nothing called {name} can be reached with the keyboard")


def test_what_is_typed_survives_that_the_page_is_kept_current(host: Host, visit: Visit):
    run = asked(host)
    page = visit("ada").page
    go_to_question(page)
    comment = page.get_by_label("Comment")
    comment.fill("half a sent")
    with page.expect_response(lambda r: r.url == page.url and r.request.resource_type == "fetch"):
        pass
    comment.press_sequentially("ence")
    expect(comment).to_have_value("half a sentence")
    host.squidmesh.reject_run(run.id, actor="grace", comment="Better not")
    expect(page.locator("#answered")).to_contain_text("grace", timeout=15_000)


def test_pause_goes_on_when_somebody_says_so(host: Host, visit: Visit):
    run = host.squidmesh.start_run(Settlement)
    run_until_idle()
    person = visit("ada")
    person.open(f"runs/{run.id}")
    person.page.get_by_role("button", name="Let it go on").click()
    expect(person.page.locator("#why")).not_to_contain_text("Let it go on")
    run_until_idle()
    expect(person.page.locator("#why")).to_contain_text("cool_down", timeout=15_000)


def test_run_is_started_with_what_it_needs(host: Host, visit: Visit):
    person = visit("ada")
    page = person.page
    page.get_by_role("link", name="Workflows", exact=True).click()
    page.get_by_role("link", name="refund").click()
    page.locator("#start-link").click()
    page.get_by_role("textbox", name="Payload").fill("{}")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("#not-accepted")).to_contain_text("account")
    page.get_by_role("textbox", name="Payload").fill('{"account": "ada"}')
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("#run-id")).to_be_visible()
    (run,) = host.squidmesh.list_runs()
    assert run.payload["account"] == "ada"
    person.forgive("422")


def test_failed_run_is_found_by_what_it_failed_with(host: Host, visit: Visit):
    for _ in range(3):
        host.squidmesh.start_run(Charge)
    run_until_idle()
    page = visit("ada").page
    row = page.locator("#failures tbody tr")
    expect(row).to_contain_text("card_declined")
    row.locator("td").last.get_by_role("link").click()
    expect(page.locator("#why")).to_contain_text("the card was declined")
    expect(page.locator("#errors")).to_contain_text("card_declined")

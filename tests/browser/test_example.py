"""The example application: from the login to the end of a run, and what an onlooker finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask_migrate import upgrade
from minimal_host_app.accounts import add_seed, statement
from minimal_host_app.extensions import close_database, squidmesh
from minimal_host_app.factory import create_app
from playwright.sync_api import Page, expect

from flask_squidmesh.testing import run_until_idle
from tests.browser.conftest import PHONE, Host, Person
from tests.browser.host import served
from tests.browser.looks import cuts, trouble

Visit = Callable[..., Person]

OLIVIA, VICTOR = "olivia@example.org", "victor@example.org"
PASSWORDS = {OLIVIA: "only for tests", VICTOR: "only for tests, too"}
REFUND = {"account_id": "ada", "amount": 1500, "reason": "charged twice"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    app = create_app(
        {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'example.sqlite3'}",
            "PASSWORDS": PASSWORDS,
            "SECRET_KEY": "only for tests",
            "SQUIDMESH_DISPATCH": "manual",
        }
    )
    with app.app_context():
        upgrade()
        add_seed()
    with served(app) as address, app.app_context():
        yield Host(app, squidmesh, address)
    close_database(app)


def ask_for_refund(host: Host) -> str:
    """Ask for a refund as any client does; return the id of the run, which waits by then."""
    run_id: str = host.app.test_client().post("/approvals", json=REFUND).get_json()["id"]
    run_until_idle()
    return run_id


def log_in(person: Person, name: str) -> Page:
    page = person.page
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert cuts(page) == []
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name=name)).to_be_visible()
    return page


@pytest.mark.parametrize(
    "options",
    [{}, {"viewport": PHONE, "color_scheme": "dark", "java_script_enabled": False}],
    ids=["desktop", "phone-without-script"],
)
def test_refund_is_decided_by_somebody_who_logged_in(host: Host, visit: Visit, options):
    run_id = ask_for_refund(host)
    page = log_in(visit(**options), OLIVIA)
    page.get_by_role("link", name="Inbox", exact=True).click()
    assert cuts(page) == []
    page.get_by_role("link", name="Look and answer: manual_approval").click()
    page.get_by_label("Comment").fill("I have seen the statement")
    page.get_by_role("button", name="Approve").click()
    run_until_idle()
    if not options.get("java_script_enabled", True):
        page.locator("#reload").click()
    expect(page.locator("#run-status")).to_contain_text("completed", timeout=15_000)
    entry = page.locator("#audit-list li").filter(has_text="I have seen the statement")
    expect(entry).to_contain_text(OLIVIA)
    assert squidmesh.inspect_run(run_id).status == "completed"
    assert statement("ada")["balance"] == REFUND["amount"]


def test_who_may_only_look_finds_no_form(host: Host, visit: Visit):
    run_id = ask_for_refund(host)
    victor = visit(path=f"runs/{run_id}/decision")
    page = log_in(victor, VICTOR)
    expect(page.locator("#not-yours")).to_be_visible()  # the page that was asked for at first
    for path in ("", "inbox", f"runs/{run_id}", "workflows/manual_approval"):
        victor.open(path)
        expect(page.locator("#squidmesh")).to_be_visible()
        assert page.locator("form[method=post]").count() == 0, path
        assert str(REFUND["reason"]) not in page.content()
    page.get_by_role("link", name=VICTOR).click()
    assert trouble(page) == []
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert trouble(page) == []

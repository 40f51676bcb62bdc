"""Every page, wide and narrow, light and dark: accessible, whole, and with a picture to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from flask_squidmesh.clock import Clock
from flask_squidmesh.testing import freeze, run_until_idle
from tests.browser.conftest import DESKTOP, PHONE, TABLET, Host, Person
from tests.browser.host import Charge, Refund, Settlement, Sync, Wide
from tests.browser.looks import cuts, trouble

Visit = Callable[..., Person]

LOOKS: Final = [
    ("phone", PHONE, "light"),
    ("tablet", TABLET, "light"),
    ("desktop", DESKTOP, "light"),
    ("phone-dark", PHONE, "dark"),
    ("desktop-dark", DESKTOP, "dark"),
]
HOSTILE: Final = {
    "account": '"><script>document.title="taken"</script><img src=x onerror=alert(1)>',
    "amount": {
        "\u202e reversed": "\u202eevil \u2066 text",
        "long": "x" * 5000,
        "{{ 7 * 7 }}": "{% raw %}",
        "مرحبا": "שלום עולם",
        "javascript:alert(1)": "</pre></code></textarea><style>*{display:none}</style>",
    },
}


def fill(host: Host) -> dict[str, str]:
    """Start runs in every state a page can show, in the last hours; return ids by name."""
    start, runs = host.squidmesh.start_run, {}
    now = Clock().now
    with freeze(now - timedelta(hours=3)) as clock:

        def at(**before: float) -> None:
            clock.advance(seconds=0.02)
            run_until_idle()
            clock.advance(seconds=(now - timedelta(**before) - clock.now).total_seconds())
            run_until_idle()

        runs["failed"] = start(Charge, {"account": "grace"})
        at(hours=2, minutes=48)
        runs["done"] = start(Refund, {"account": "otto", "amount": 3})
        at(hours=2, minutes=20)
        host.squidmesh.approve_run(runs["done"].id, actor="grace", comment="Agreed by phone.")
        runs["asked"] = start(Refund, {"account": "ada", "amount": 4711})
        at(hours=1, minutes=10)
        runs["held"] = start(Settlement)
        at(minutes=35)
        runs["wide"] = start(Wide)
        at(minutes=12)
        runs["asked_too"] = start(Refund, {"account": "grace", "amount": 12})
        runs["retrying"] = start(Sync)
        at(seconds=100)
        at(seconds=5)
        start(Refund, {"account": "new", "amount": 1})
    return {name: run.id for name, run in runs.items()}


PAGES: Final = {
    "overview": "",
    "inbox": "inbox",
    "runs": "runs",
    "runs-filtered": "runs?workflow=refund&status=paused",
    "run": "runs/{asked}",
    "run-failed": "runs/{failed}",
    "run-retrying": "runs/{retrying}",
    "run-done": "runs/{done}",
    "run-wide": "runs/{wide}",
    "step": "runs/{done}/steps/agree",
    "step-failed": "runs/{failed}/steps/charge_card",
    "decision": "runs/{asked}/decisions/agree/1",
    "decision-answered": "runs/{done}/decisions/agree/1",
    "decision-pause": "runs/{held}/decisions/hold/1",
    "cancel": "runs/{asked}/cancel",
    "replay": "runs/{failed}/replay",
    "workflows": "workflows",
    "workflow": "workflows/refund",
    "workflow-loop": "workflows/settlement",
    "start": "workflows/refund/start",
}


@pytest.mark.parametrize("shown", LOOKS, ids=[look for look, *_ in LOOKS])
def test_every_page_is_accessible_and_whole(
    host: Host, visit: Visit, picture: Callable[[Page, str], None], shown
):
    look, viewport, scheme = shown
    ids = fill(host)
    ada = visit("ada", viewport=viewport, color_scheme=scheme)
    troubles = []
    for name, path in PAGES.items():
        page = ada.open(path.format(**ids))
        expect(page.locator("#squidmesh")).to_be_visible()
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        picture(page, f"{name}-{look}")
        # What axe finds does not depend on anything in between.
        found = trouble(page) if look in ("desktop", "phone-dark") else cuts(page)
        troubles += [f"{name}: {each}" for each in found]
    assert troubles == []


@pytest.mark.parametrize(("look", "viewport"), [("phone", PHONE), ("desktop", DESKTOP)])
def test_empty_pages_say_what_would_be_there(
    host: Host, visit: Visit, picture: Callable[[Page, str], None], look, viewport
):
    ada = visit("ada", viewport=viewport)
    for name, path in (("overview", ""), ("inbox", "inbox"), ("runs", "runs")):
        page = ada.open(path)
        expect(page.locator(".sq-empty").first).to_contain_text("would be")
        picture(page, f"{name}-empty-{look}")
        assert trouble(page) == []


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_hostile_data_breaks_neither_page_nor_policy(host: Host, visit: Visit, viewport):
    hostile = host.squidmesh.start_run(Refund, HOSTILE)
    large = host.squidmesh.start_run(Refund, {"account": "x" * 1_000_000})
    run_until_idle()
    for run in (hostile, large):
        host.squidmesh.approve_run(
            run.id, actor=str(HOSTILE["account"]), comment=str(HOSTILE["account"])
        )
    run_until_idle()
    ada = visit("ada", viewport=viewport)
    paths = ["", "inbox", "runs"]
    for run in (hostile, large):
        paths += [
            f"runs/{run.id}",
            f"runs/{run.id}/steps/agree",
            f"runs/{run.id}/decisions/agree/1",
        ]
    paths += ["runs?find=" + "%3Cscript%3E", "runs?workflow=%22%3E%3Cscript%3E&trigger=x"]
    for path in paths:
        page = ada.open(path)
        expect(page.locator("#squidmesh")).to_be_visible()
        assert page.title() != "taken"
        assert page.locator("#squidmesh script, #squidmesh img, #squidmesh style").count() == 0
        assert trouble(page) == [], path
        assert len(page.content()) < 300_000
    ada.forgive("400")

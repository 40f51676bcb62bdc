"""Every page, wide and narrow, light and dark: accessible, whole, and with a picture to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from flask_squidmesh.testing import freeze, run_until_idle
from tests.browser.conftest import DESKTOP, PHONE, TABLET, Host, Person
from tests.browser.host import Charge, Refund, Settlement, Sync, Wide

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
    """Start runs in every state a page can show; return ids by name."""
    start = host.squidmesh.start_run
    with freeze() as clock:
        runs = {
            "asked": start(Refund, {"account": "ada", "amount": 4711}),
            "asked_too": start(Refund, {"account": "grace", "amount": 12}),
            "failed": start(Charge, {"account": "grace"}),
            "retrying": start(Sync),
            "done": start(Refund, {"account": "otto", "amount": 3}),
            "held": start(Settlement),
            "wide": start(Wide),
        }
        run_until_idle()
        clock.advance(seconds=61)
        run_until_idle()
        host.squidmesh.approve_run(runs["done"].id, actor="grace", comment="Agreed by phone.")
        clock.advance(seconds=2)
        run_until_idle()
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


def is_cut(page: Page) -> bool:
    """Whether the page is wider than its window, so that something is out of sight."""
    wide: bool = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wide


def violations(page: Page) -> list[str]:
    """Return what axe finds, in short."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} ({node['failureSummary'][:200]})"
        for each in found
        for node in each["nodes"]
    ]


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
        troubles += [f"{name}: {found}" for found in violations(page)]
        troubles += [f"{name}: wider than the window"] * is_cut(page)
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
        assert violations(page) == []
        assert not is_cut(page)


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
        assert not is_cut(page), path
        assert violations(page) == [], path
        assert len(page.content()) < 300_000
    ada.forgive("400")

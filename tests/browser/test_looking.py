"""Whoever may only look finds nothing to change; whoever may not look finds nothing."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from flask_squidmesh.testing import run_until_idle
from tests.browser.conftest import Host, Person
from tests.browser.host import Refund, Settlement

Visit = Callable[..., Person]

LARGEST_FIRST_PAGE = 100_000


def test_who_may_only_look_is_offered_nothing(host: Host, visit: Visit):
    refund = host.squidmesh.start_run(Refund, {"account": "secret-account"})
    pause = host.squidmesh.start_run(Settlement)
    run_until_idle()
    otto = visit("otto")
    pages = ["", "inbox", "runs", "workflows", "workflows/refund"]
    pages += [f"runs/{run.id}{rest}" for run in (refund, pause) for rest in ("", "/decision")]
    for path in pages:
        page = otto.open(path)
        expect(page.locator("#squidmesh")).to_be_visible()
        assert page.locator("form[method=post], button:not(#filters button)").count() == 0, path
    assert otto.said == []
    otto.open(f"runs/{refund.id}/cancel")
    expect(otto.page.locator("[data-problem='403']")).to_be_visible()
    otto.forgive("403")


def test_data_is_seen_by_those_who_may(host: Host, visit: Visit):
    run = host.squidmesh.start_run(Refund, {"account": "secret-account"})
    run_until_idle()
    otto, vera = visit("otto"), visit("vera")
    for path in (f"runs/{run.id}", f"runs/{run.id}/steps/load_account", f"runs/{run.id}/decision"):
        assert "secret-account" in otto.open(path).content()
        assert "secret-account" not in vera.open(path).content()


def test_who_is_nobody_sees_nothing(host: Host, visit: Visit):
    run = host.squidmesh.start_run(Refund, {"account": "ada"})
    nobody = visit("nobody")
    for path in ("", "inbox", "runs", f"runs/{run.id}", "workflows", "runs/unknown"):
        nobody.open(path)
        expect(nobody.page.locator("[data-problem='403']")).to_be_visible()
        assert run.id not in nobody.page.content()
    nobody.forgive("403")


def test_first_page_is_light(host: Host, visit: Visit):
    for number in range(30):
        host.squidmesh.start_run(Refund, {"account": f"account {number}"})
    run_until_idle()
    ada = visit("ada", java_script_enabled=True)
    sizes: dict[str, int] = {}
    ada.context.on("response", lambda r: sizes.update({r.url: len(r.body())}))
    ada.page.goto(host.dashboard, wait_until="networkidle")
    assert 0 < sum(sizes.values()) <= LARGEST_FIRST_PAGE, sizes

"""Overview, inbox, runs and workflows: what is listed, counted, filtered and paged."""

from __future__ import annotations

import pytest

from flask_squidmesh.testing import freeze, tick
from tests.contract import host
from tests.http.host import Order
from tests.support.databases import Databases
from tests.ui.host import PREFIX, Daily, Page, Twice, locations, open_dashboard


def test_the_inbox_has_the_longest_waiting_first_in_pages(dashboard, monkeypatch):
    monkeypatch.setattr("flask_squidmesh.ui.pages.inbox.PAGE", 2)
    with freeze() as clock:
        runs = []
        for _ in range(5):
            runs.append(dashboard.go(dashboard.squidmesh.start_run(Twice).id).id)
            clock.advance(seconds=100)
        # The second question of the first run is asked later than all others.
        dashboard.squidmesh.approve_run(runs[0], actor="bob")
        expected = [*runs[1:], runs[0]]
        found, page = [], dashboard.get("/inbox")
        while True:
            found += [str(card["data-run"]) for card in page.soup.select("[data-run]")]
            if "#page-next" not in page:
                break
            page = dashboard.get(str(page.one("#page-next")["href"]).removeprefix(PREFIX))
    assert found == expected
    assert dashboard.get("/inbox?after=x").status == 400


def test_the_inbox_tells_what_each_answer_leads_to(dashboard):
    run = dashboard.order()
    card = Page(dashboard.get("/inbox").response).text(f"#waiting-{run.id} dl")
    assert card == (
        "Approve It stops at hold, for the next answer. "
        "Reject It goes on to put_back, and then completes."
    )


def test_empty_pages_say_what_would_be_there(dashboard):
    for path, selector in (
        ("/inbox", "#inbox-empty"),
        ("/runs", "#runs-empty"),
        ("/", "#no-trouble"),
    ):
        assert "would" in dashboard.get(path).text(selector) or path == "/"


def test_runs_are_filtered_by_the_address_and_come_in_pages(dashboard, monkeypatch):
    monkeypatch.setattr("flask_squidmesh.ui.pages.runs.PAGE", 2)
    orders = [dashboard.squidmesh.start_run(Order, {"number": n}).id for n in range(3)]
    other = dashboard.squidmesh.start_run(Order, {"number": 1}, trigger="desk").id
    dashboard.squidmesh.start_run(Twice)

    def ids(page):
        return [str(row["data-run"]) for row in page.soup.select("tr[data-run]")]

    first = dashboard.get("/runs?workflow=order&trigger=shop")
    assert ids(first) == orders[:0:-1]
    second = dashboard.get(str(first.one("#page-next")["href"]).removeprefix(PREFIX))
    assert ids(second) == orders[:1]
    assert "#page-first" in second
    assert second.one("#filter-workflow option[selected]").get_text() == "order"
    assert ids(dashboard.get("/runs?trigger=desk")) == [other]
    assert ids(dashboard.get("/runs?status=failed")) == []
    assert "#filter-problem" in dashboard.get("/runs?status=none")
    assert dashboard.get("/runs?after=x").status == 400
    assert locations(dashboard.get(f"/runs?find={other}")) == f"{PREFIX}/runs/{other}"
    assert len(ids(dashboard.get(f"/runs?find={other[:8]}"))) == 2
    assert "#filter-problem" in dashboard.get("/runs?find=zebra")


def test_workflows_show_their_triggers_and_next_times(dashboard):
    tick()
    page = dashboard.get("/workflows")
    assert "0 9 * * * (Europe/Paris), next 20" in page.text("[data-workflow=daily]")
    page = dashboard.get("/workflows/daily")
    assert "Next 20" in page.text("[data-trigger=morning]")
    assert page.text(".sq-lead") == "Starts by itself."
    dashboard.order()
    order = dashboard.get("/workflows/order")
    (row,) = order.texts("#versions-table tbody tr")
    assert row.startswith("7 · new runs follow this one 20")
    assert "#versions-table" not in dashboard.get("/workflows/parallel")
    assert "it goes on to cool_down (waits 1 min), then ship" in order.text("#steps-table")
    assert Daily.definition.fingerprint in page.html


@pytest.fixture(scope="module")
def postgres_url(postgres_databases: Databases):
    url = postgres_databases.create(host.prepare)
    yield url
    postgres_databases.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def on_each_database(request, shared_url):
    """A visitor, once on each database."""
    url = shared_url if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    host.empty(url)
    with open_dashboard(url) as dashboard:
        yield dashboard


def test_the_overview_counts_and_groups(on_each_database):
    dashboard = on_each_database
    with freeze() as clock:
        old = dashboard.failed_order()
        clock.advance(seconds=25 * 3600)
        dashboard.failed_order()
        dashboard.order()
        dashboard.squidmesh.start_run(Order, {"number": 1})
        clock.advance(seconds=60)
        page = dashboard.get("/")
        assert page.status == 200
        counts = {
            str(tile["data-count"]): tile.select_one(".sq-count").get_text()
            for tile in page.soup.select("[data-count]")
        }
        assert counts == {
            "pending": "1",
            "running": "0",
            "retrying": "0",
            "paused": "1",
            "cancelling": "0",
            "completed": "0",
            "failed": "1",
            "cancelled": "0",
        }
        row = page.text("#failures tbody tr")
        assert row == "order put_back sold_out nothing in stock 2 1 minute ago"
        assert (
            "No worker takes what is ready: reserve of order became ready 1 minute ago"
            in page.text("#trouble-untaken")
        )
        assert len(page.soup.select("#waiting li")) == 1
        inbox = dashboard.get("/inbox")
        assert len(inbox.soup.select("[data-run]")) == 1
        assert old.id not in page.html

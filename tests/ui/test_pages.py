"""What all pages have in common: nothing in them breaks out, and they are sound and light."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest

from flask_squidmesh import (
    StepFailed,
    Workflow,
    approval,
    complete,
    manual,
    step,
)
from flask_squidmesh.testing import freeze
from flask_squidmesh.ui.blueprint import POLICY
from tests.http.host import Order
from tests.ui.host import PREFIX

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "{{ 7 * 7 }}",
    "\u202eevil\u2066",
    "\x00\x07\x1b[31m",
    "\ud800",
    "x" * 3_000,
    "مرحبا بالعالم",
    "javascript:alert(1)",
)


@pytest.mark.parametrize(
    "path",
    [
        "/runs",
        "/inbox",
        "/workflows/order",
        "/runs/{id}",
        "/runs/{id}/steps/release",
        "/runs/{id}/data/payload",
    ],
)
def test_no_query_breaks_a_page(dashboard, path):
    run_id = dashboard.squidmesh.start_run(Order, {"number": 1}).id
    keys = ("workflow", "status", "trigger", "find", "after", "rows", "visit", "step", "none")
    for text in HOSTILE:
        for key in keys:
            query = urlencode({key: text}, errors="surrogatepass")
            page = dashboard.get(f"{path.format(id=run_id)}?{query}")
            assert page.status in (200, 400, 404), (key, text)
            assert "<script>alert" not in page.html
            assert "<img" not in page.html


def test_what_is_foreign_is_escaped_isolated_and_to_be_seen(dashboard):
    def refuse(note):
        raise StepFailed(note, code=f"code {note}"[:50], details={note: note})

    class Foreign(Workflow):
        go = manual()
        ask = approval(output="said")
        work = step(refuse, input={"note": "said.metadata.note"})
        other = step(lambda: None)
        transitions = [ask >> work >> complete, ask.on_error(other), other >> complete]

    dashboard.squidmesh.register(Foreign)
    for text in HOSTILE:
        run = dashboard.go(dashboard.squidmesh.start_run(Foreign).id)
        actor = {"name": text, text: text}
        comment = f"see {text}"
        dashboard.squidmesh.approve_run(
            run.id, actor=actor, comment=comment, metadata={"note": text}
        )
        run = dashboard.go(run.id)
        assert run.status == "failed"
        paths = ("", "/steps/ask", "/steps/work", "/decisions/ask/1", "/cancel", "/replay")
        for path in (*(f"/runs/{run.id}{p}" for p in paths), "/", "/runs"):
            page = dashboard.get(path)
            page.html.encode()
            assert page.status == 200
            assert "<script>alert" not in page.html
            assert "<img" not in page.html
            assert not re.search("[\x00\x07\x1b\u202a-\u202e\u2066-\u2069]", page.html)
        whole = dashboard.client.get(f"{PREFIX}/runs/{run.id}/data/context")
        assert whole.json["said"]["comment"] == comment


def test_a_large_document_is_cut_and_the_whole_is_a_file(dashboard):
    text = "<b>" * 340_000
    run = dashboard.order(extra=text)
    page = dashboard.get(f"/runs/{run.id}")
    assert len(page.html) < 60_000
    assert "This is the beginning of 1,020," in page.text("#data-payload .sq-cut")
    whole = dashboard.client.get(str(page.one("#data-payload a[download]")["href"]))
    assert whole.json["extra"] == text
    assert whole.headers["Content-Disposition"].startswith("attachment;")
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    assert (whole.mimetype, whole.headers["X-Content-Type-Options"]) == (
        "application/json",
        "nosniff",
    )


def every_page(dashboard):
    run = dashboard.order()
    failed = dashboard.failed_order()
    yield from ("/", "/inbox", "/runs", "/workflows", "/workflows/order", "/workflows/order/start")
    yield from ("/workflows/daily", "/workflows/parallel", "/runs/none", f"/runs/{failed.id}")
    for path in (
        "",
        "/steps/reserve",
        "/steps/hold",
        "/decisions/release/1",
        "/decision",
        "/cancel",
        "/replay",
        "/data/payload",
        "/data/none",
        "/steps/none",
        "/approve",
    ):
        yield f"/runs/{run.id}{path}"


def test_every_answer_carries_the_policy_and_keeps_it(dashboard):
    for path in every_page(dashboard):
        page = dashboard.get(path)
        headers = page.response.headers
        assert headers["Content-Security-Policy"] in (POLICY, "default-src 'none'; sandbox"), path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        if page.response.mimetype != "text/html" or page.status == 303:
            continue
        assert not re.search(r"<style|<script(?! src=)| style=| on\w+=|javascript:", page.html), (
            path
        )
        loaded = page.soup.select("script[src], link[href], img[src]")
        addresses = [str(tag.get("src") or tag.get("href")) for tag in loaded]
        assert all(address.startswith(f"{PREFIX}/static/") for address in addresses)
    with dashboard.client.get(f"{PREFIX}/static/dashboard.js") as static:
        assert static.headers["Content-Security-Policy"] == POLICY
    refused = dashboard.post("/inbox", {})
    assert (refused.status, refused.response.headers["Content-Security-Policy"]) == (405, POLICY)


def test_a_policy_of_the_host_is_left_alone(dashboard):
    @dashboard.world.app.after_request
    def protect(response):
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response

    assert dashboard.get("/").response.headers.getlist("Content-Security-Policy") == [
        "default-src 'self'"
    ]


def test_every_page_is_sound(dashboard):
    for path in every_page(dashboard):
        page = dashboard.get(path)
        if page.response.mimetype != "text/html" or page.status == 303:
            continue
        ids = [str(tag["id"]) for tag in page.soup.select("[id]")]
        assert len(ids) == len(set(ids)), path
        assert page.one("html")["lang"] == "en"
        assert page.text("head > title")
        assert page.text("main h1")
        for tag in page.soup.select("[aria-labelledby], [aria-describedby], label[for]"):
            for name in ("aria-labelledby", "aria-describedby", "for"):
                assert set(str(tag.get(name, "")).split()) <= set(ids), (path, tag)
        for field in page.soup.select("input:not([type=hidden]), select, textarea"):
            assert f"label[for={field['id']}]" in page
        levels = [int(tag.name[1]) for tag in page.soup.find_all(re.compile(r"^h[1-6]$"))]
        assert all(b - a <= 1 for a, b in pairwise(levels)), (path, levels)


def test_the_first_page_is_light(dashboard):
    for _ in range(60):
        dashboard.squidmesh.start_run(Order, {"number": 1})
    run = dashboard.order()
    for path in ("/", "/inbox", "/runs", f"/runs/{run.id}"):
        page = dashboard.get(path)
        parts = [tag.get("href") or tag.get("src") for tag in page.soup.select("head link, script")]
        bodies = [page.response.data]
        for part in parts:
            with dashboard.client.get(str(part)) as loaded:
                bodies.append(loaded.data)
        assert len(bodies) == 4
        assert sum(map(len, bodies)) < 100_000, path


def test_a_page_that_has_not_changed_is_not_sent_again(dashboard):
    run = dashboard.order()
    with freeze() as clock:
        for path in (
            "/",
            "/inbox",
            "/runs",
            f"/runs/{run.id}",
            f"/runs/{run.id}/decisions/release/1",
            "/workflows",
            f"/runs/{run.id}/cancel",
            f"/runs/{run.id}/steps/release",
        ):
            tag = {"If-None-Match": dashboard.get(path).response.headers["ETag"]}
            clock.advance(seconds=0.1)
            again = dashboard.get(path, headers=tag)
            assert (again.status, again.html) == (304, ""), path
    tag = {"If-None-Match": dashboard.get(f"/runs/{run.id}").response.headers["ETag"]}
    dashboard.squidmesh.cancel_run(run.id, actor="bob")
    assert dashboard.get(f"/runs/{run.id}", headers=tag).status == 200


def test_regions_that_the_script_replaces_are_there_in_every_state(dashboard):
    def regions(run_id):
        return {str(t["id"]) for t in dashboard.get(f"/runs/{run_id}").soup.select("[data-region]")}

    run = dashboard.order()
    before = regions(run.id)
    dashboard.squidmesh.cancel_run(run.id)
    assert regions(run.id) == before
    assert {"run-status", "why", "question", "offers", "steps", "timeline", "audit"} <= before


def test_a_run_of_very_many_steps_comes_in_pages(dashboard):
    body = {f"s{n}": step(lambda: None) for n in range(400)}
    wide: Any = type(
        "Wide",
        (Workflow,),
        {"go": manual(), **body, "end": step(lambda: None, after=list(body.values()))},
    )
    run_id = dashboard.world.start(wide)
    page = dashboard.get(f"/runs/{run_id}")
    assert len(page.html) < 80_000
    assert page.text("#steps-table caption") == "Steps 1 to 40 of 401"
    assert len(page.soup.select("#steps-table tbody tr")) == 40
    assert "more steps are unfinished" in page.text("#why")
    last = dashboard.get(f"/runs/{run_id}?rows=400")
    assert last.text("#steps-table caption") == "Steps 401 to 401 of 401"
    assert (
        dashboard.get(f"/runs/{run_id}?rows=9999")
        .text("#steps-table caption")
        .startswith("Steps 1 to")
    )


def test_a_template_of_the_host_takes_the_place_of_ours(dashboard, tmp_path):
    from jinja2 import ChoiceLoader, FileSystemLoader

    app = dashboard.world.app
    (tmp_path / "squidmesh").mkdir()
    (tmp_path / "squidmesh" / "layout.html").write_text(
        "<html lang=en><title>{% block squidmesh_title %}{% endblock %}</title><body>HOUSE"
        "{% block squidmesh_nav %}{% endblock %}"
        "<main>{% block squidmesh_content %}{% endblock %}</main>"
    )
    app.jinja_env.bytecode_cache = None
    app.jinja_loader = ChoiceLoader([FileSystemLoader(tmp_path), app.jinja_loader])
    run = dashboard.order()
    for path in ("/", f"/runs/{run.id}", "/runs/none"):
        page = dashboard.get(path)
        assert "HOUSE" in page.html
        assert page.text("main h1")
    assert dashboard.get("/").response.headers["ETag"]

"""An application with the dashboard, somebody who decides what is granted, and short words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from bs4 import BeautifulSoup, Tag
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.test import TestResponse

from flask_squidmesh import Run, Workflow, approval, complete, cron, manual, step
from flask_squidmesh.testing import run_until_idle
from tests.contract import host
from tests.contract.host import World
from tests.http.host import Authorizer, Order, Parallel

PREFIX = "/squidmesh/dashboard"


class Twice(Workflow):
    """Asks the same kind of question twice in a row."""

    go = manual()
    first = approval(output="first")
    second = approval(output="second")
    done = step(lambda: None)
    stop = step(lambda: None)
    transitions = [
        first >> second >> done >> complete,
        first.on_error(stop),
        second.on_error(stop),
        stop >> complete,
    ]


class Daily(Workflow):
    """Starts by itself."""

    morning = cron("0 9 * * *", timezone="Europe/Paris")
    work = step(lambda: {"mails": 3})
    transitions = [work >> complete]


class Compiled(BytecodeCache):
    """Templates are compiled once, and not for each application."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()


class Page:
    """An answer of the dashboard, to be asked what stands in it."""

    def __init__(self, response: TestResponse) -> None:
        self.response = response
        self.status = response.status_code
        self.html = response.get_data(as_text=True)

    @cached_property
    def soup(self) -> BeautifulSoup:
        return BeautifulSoup(self.html, "html.parser")

    def __contains__(self, selector: str) -> bool:
        return self.soup.select_one(selector) is not None

    def one(self, selector: str) -> Tag:
        """Return the one element that the selector finds."""
        (found,) = self.soup.select(selector)
        return found

    def text(self, selector: str) -> str:
        """Return the words of the one element that the selector finds."""
        return " ".join(self.one(selector).get_text().split())

    def texts(self, selector: str) -> list[str]:
        return [" ".join(found.get_text().split()) for found in self.soup.select(selector)]

    def links(self) -> set[str]:
        """Return the addresses that the page offers, by links and forms."""
        found = [tag.get(name) for tag in self.soup.find_all(True) for name in _LEADING]
        return {str(address) for address in found if address}

    def fields(self, form: str = "form[method=post]") -> dict[str, str]:
        """Return what a form would send."""
        found = self.one(form)
        inputs = {str(i["name"]): str(i.get("value", "")) for i in found.select("input[name]")}
        areas = {str(a["name"]): a.get_text() for a in found.select("textarea[name]")}
        return {**inputs, **areas}


_LEADING = ("href", "action", "formaction")


class Dashboard:
    """A visitor's browser without scripts."""

    def __init__(self, world: World, authorizer: Authorizer, prefix: str = PREFIX) -> None:
        self.world = world
        self.squidmesh = world.squidmesh
        self.authorizer = authorizer
        self.prefix = prefix
        self.client: FlaskClient = world.app.test_client()

    def get(self, path: str, **options: Any) -> Page:
        return Page(self.client.get(self.prefix + path, **options))

    def post(self, path: str, data: dict[str, str], **options: Any) -> Page:
        return Page(self.client.post(self.prefix + path, data=data, **options))

    def press(self, page: Page, verb: str, **said: str) -> Page:
        """Fill in the form of *page* and press the button of *verb*."""
        button = page.one(f"button[data-verb={verb}]")
        form = button.find_parent("form")
        assert form is not None
        url = str(button.get("formaction") or form["action"])
        fields = page.fields(f"form#{form['id']}")
        return Page(self.client.post(url, data={**fields, **said}))

    def order(self, number: int = 1, **more: Any) -> Run:
        """Start an order, and let it go until it stands at its approval."""
        return self.go(self.squidmesh.start_run(Order, {"number": number, **more}).id)

    def order_at_pause(self) -> Run:
        run = self.order()
        self.squidmesh.approve_run(run.id, actor="somebody")
        return self.go(run.id)

    def failed_order(self) -> Run:
        run = self.order()
        self.squidmesh.reject_run(run.id, actor="somebody")
        return self.go(run.id)

    def go(self, run_id: str) -> Run:
        run_until_idle()
        return self.see(run_id)

    def see(self, run_id: str) -> Run:
        return self.squidmesh.inspect_run(run_id, include_history=True)

    def audit(self, run_id: str) -> list[tuple[str, Any, str | None]]:
        """Return type, actor and comment of what people did."""
        return [(e.type, e.actor, e.comment) for e in self.see(run_id).audit_events or ()]


@contextmanager
def open_dashboard(url: str, **config: Any) -> Iterator[Dashboard]:
    """Open the context of a new application with the dashboard."""
    defaults = {"SQUIDMESH_DASHBOARD": True, "SECRET_KEY": "secret"}
    with host.make_world(url, **{**defaults, **config}) as world:
        world.app.jinja_env.bytecode_cache = COMPILED
        authorizer = Authorizer()
        world.squidmesh.authorize(authorizer)
        for workflow in (Order, Parallel, Twice, Daily):
            world.squidmesh.register(workflow)
        prefix = config.get("SQUIDMESH_URL_PREFIX", "/squidmesh")
        yield Dashboard(world, authorizer, f"{prefix}/dashboard")


def locations(page: Page) -> str:
    """Return where a redirect leads to, without its host."""
    return re.sub(r"^https?://[^/]+", "", page.response.headers["Location"])

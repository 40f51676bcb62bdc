"""One Chromium per session, one context per test; nothing may be said on its console.

The Content-Security-Policy is active. Pictures of all pages go to the folder in
the environment variable `PICTURES`, those that the documentation shows to the one
in `DOCS_PICTURES`, and nowhere without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from flask_squidmesh import SquidMesh
from tests.browser.host import db, make_app, served
from tests.browser.pictures import IN_DOCS, keep_for_docs
from tools.find_chromium import find_chromium

# What Chromium does for itself would be refused by a closed network, and be said on the console.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
PHONE = {"width": 360, "height": 740}
TABLET = {"width": 768, "height": 1024}
DESKTOP = {"width": 1440, "height": 900}


@dataclass
class Host:
    """The application under test: its address, and what a test does behind the browser's back."""

    app: Flask
    squidmesh: SquidMesh
    address: str

    @property
    def dashboard(self) -> str:
        """The address of the overview."""
        return f"{self.address}/squidmesh/dashboard/"


@dataclass
class Person:
    """Somebody in front of a browser; `said` is what the page has put on the console."""

    context: BrowserContext
    page: Page
    host: Host
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def forgive(self, status: str) -> None:
        """Take the browser's own word about an answer with this status off the record."""
        self.said = [text for text in self.said if f"status of {status}" not in text]

    def open(self, path: str = "") -> Page:
        """Open a page of the dashboard."""
        self.page.goto(self.host.dashboard + path)
        return self.page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.fail("Chromium is not installed; run 'make test-browser', which says what to do")
    with sync_playwright() as playwright:
        # Root may not use Chromium's sandbox; it opens nothing here but our own pages.
        browser = playwright.chromium.launch(
            executable_path=path, args=QUIET, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        browser.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    app, squidmesh = make_app(f"sqlite:///{tmp_path / 'browser.sqlite3'}")
    with served(app) as address, app.app_context():
        yield Host(app, squidmesh, address)
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def visit(browser: Browser, host: Host) -> Iterator[Callable[..., Person]]:
    """Let somebody log in: `visit("ada", viewport=PHONE, java_script_enabled=False)`.

    Without a name they only open the dashboard, at `path`. Afterwards nobody's
    console has a word on it, and no request has left the host.
    """
    people: list[Person] = []

    def log_in(name: str | None = None, *, path: str = "", **options: Any) -> Person:
        options.setdefault("viewport", DESKTOP)
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        person = Person(context, context.new_page(), host)
        people.append(person)
        context.on("request", lambda request: person.asked.append(request.url))
        context.on("console", lambda message: person.said.append(message.text))
        context.on("weberror", lambda error: person.said.append(str(error.error)))
        person.page.goto(f"{host.dashboard}{path}" if name is None else f"{host.address}/as/{name}")
        return person

    yield log_in
    for person in people:
        person.context.close()
    assert [text for person in people for text in person.said] == []
    foreign = [
        url
        for person in people
        for url in person.asked
        if not url.startswith((host.address, "data:"))
    ]
    assert foreign == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Keep a picture of a page under a name, where the environment asks for it."""

    def take(page: Page, name: str) -> None:
        if folder := os.environ.get("PICTURES"):
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
        if (folder := os.environ.get("DOCS_PICTURES")) and name in IN_DOCS:
            keep_for_docs(page, Path(folder) / f"{name}.png")

    return take

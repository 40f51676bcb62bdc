"""Shows the example at work: `python -m minimal_host_app.demo`.

Starts everything in this one process, on a new database in a temporary folder:
the payment gateway, the web server and an embedded worker. Then it is a client
like any other: it starts runs over HTTP, follows them, and approves one.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import func, select
from werkzeug.serving import make_server

from flask_squidmesh import SquidMeshError
from flask_squidmesh.clock import Clock, wait_until
from flask_squidmesh.dispatch.embedded import EmbeddedWorker
from minimal_host_app.accounts import add_seed
from minimal_host_app.extensions import close_database, db
from minimal_host_app.factory import create_app
from minimal_host_app.gateway import Gateway
from minimal_host_app.models import Account, Invoice, Notification
from minimal_host_app.narration import Display, DisplayHandler, Document, Narrator, timeline

TIMEOUT = 30.0
TERMINAL = ("completed", "failed", "cancelled")


class Unexpected(Exception):
    """The demo did not go as it should."""


def main() -> int:
    """Run the demo; return the exit code: 0 only when everything went as it should."""
    # Ended by SIGTERM, it tidies up as after Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # All it talks to is in this process, whatever proxy the machine uses for the rest.
    os.environ["no_proxy"] = "127.0.0.1"
    display = Display(sys.stdout)
    send_log_to(display)
    try:
        with running_application(display) as (app, client):
            recovered = recover_a_payment(app, client, display)
            approved = approve_a_refund(app, client, display)
            timeline(display, recovered)
            timeline(display, approved)
    except (Unexpected, SquidMeshError, TimeoutError, httpx.HTTPError) as problem:
        display.line()
        display.line(f"The demo FAILED: {problem}", "bad")
        return 1
    except KeyboardInterrupt:
        display.line("interrupted")
        return 130
    display.line()
    display.line("Everything ended as it should.", "good")
    return 0


def recover_a_payment(app: Flask, client: httpx.Client, display: Display) -> Document:
    display.heading("PaymentRecovery: a real gateway that fails at first")
    invoice = {"account_id": "ada", "invoice_id": "invoice-ada"}
    url = start(client, "/payment-recoveries", invoice, display)
    run = follow(client, url, Narrator(display), expected="completed")

    (checked,) = [each for each in run["step_runs"] if each["step"] == "check_gateway"]
    attempts = [attempt["status"] for attempt in checked["attempts"]]
    expect("attempts of check_gateway", attempts, ["failed", "failed", "completed"])
    with app.app_context():
        expect("invoice", db.session.get_one(Invoice, "invoice-ada").status, "paid")
        count = db.session.scalar(select(func.count()).select_from(Notification))
        expect("notifications", count, 1)
    return run


def approve_a_refund(app: Flask, client: httpx.Client, display: Display) -> Document:
    display.heading("ManualApproval: a person decides")
    refund = {"account_id": "ada", "amount": 1500, "reason": "charged twice"}
    url = start(client, "/approvals", refund, display)
    narrator = Narrator(display)
    follow(client, url, narrator, expected="paused")

    comment = "I have seen both bank statements"
    answer = client.post(
        f"{url}/approve", json={"comment": comment}, headers={"X-Actor": "olivia@example.org"}
    )
    display.line(f"  POST {url}/approve as olivia@example.org -> {answer.status_code}")
    answer.raise_for_status()
    run = follow(client, url, narrator, expected="completed")

    said = [(event["type"], event["actor"], event["comment"]) for event in run["audit_events"]]
    approved = ("approved", "olivia@example.org", comment)
    expect("audit events", said, [("paused", None, None), approved])
    with app.app_context():
        expect("balance", db.session.get_one(Account, "ada").balance, 1500)
    return run


def start(client: httpx.Client, path: str, payload: Document, display: Display) -> str:
    """Start a run; return the URL it can be watched at."""
    answer = client.post(path, json=payload)
    display.line(f"  POST {path} -> {answer.status_code}, {answer.headers.get('Location')}")
    return answer.raise_for_status().headers["Location"]


def follow(client: httpx.Client, url: str, narrator: Narrator, *, expected: str) -> Document:
    """Tell what the run does until it stands still, which it must do as *expected*."""
    clock, run = Clock(), Document()

    def stands_still() -> bool:
        run.update(client.get(f"{url}?include_history=1").raise_for_status().json())
        narrator.tell(run, clock.now)
        return run["status"] in (*TERMINAL, expected)

    wait_until(stands_still, timeout=TIMEOUT, interval=0.05)
    if run["status"] != expected:
        raise Unexpected(
            f"{url} is {run['status']}, not {expected} as expected within {TIMEOUT:g} s "
            f"(step: {run['current_step']}, last error: {run['last_error']})"
        )
    return run


def expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Unexpected(f"{what}: expected {expected!r}, found {found!r}")


@contextmanager
def running_application(display: Display) -> Iterator[tuple[Flask, httpx.Client]]:
    """Start all parts, and leave nothing behind."""
    display.heading("Starting")
    with ExitStack() as parts:
        folder = parts.enter_context(tempfile.TemporaryDirectory(prefix="squidmesh-demo-"))
        gateway = parts.enter_context(Gateway(failures=2))
        app = create_app(
            {
                "BROKER_URL": "memory://",
                "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3",
                "GATEWAY_URL": gateway.url,
            }
        )
        parts.callback(close_database, app)
        with app.app_context():
            upgrade()
            add_seed()
        display.line(f"  database   {app.config['DATABASE_URL']}")
        display.line(f"  gateway    {gateway.url}, fails twice per invoice")
        parts.enter_context(EmbeddedWorker(app))
        display.line("  worker     in this process")
        address = parts.enter_context(serving(app))
        display.line(f"  web server {address}")
        yield app, parts.enter_context(httpx.Client(base_url=address, timeout=10))


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve *app* on a free port in a thread; give the address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="web", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send_log_to(display: Display) -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[DisplayHandler(display)])
    steps, migrations = map(
        logging.getLogger, ("flask_squidmesh.steps", "alembic.runtime.migration")
    )
    steps.setLevel(logging.INFO)
    migrations.setLevel(logging.INFO)
    migrations.addFilter(lambda record: record.getMessage().startswith("Running upgrade"))
    # It writes a line per request, and the demo makes many.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())

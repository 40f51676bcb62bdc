"""A host application with the dashboard, served over HTTP to a browser, and its people."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, redirect, session
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from flask_squidmesh import (
    Retry,
    SquidMesh,
    StepFailed,
    Workflow,
    approval,
    complete,
    exponential,
    manual,
    pause,
    sqlite,
    step,
    wait,
)
from flask_squidmesh.clock import FrozenClock
from flask_squidmesh.current import state
from flask_squidmesh.definition.workflow import WorkflowType
from flask_squidmesh.types import Run

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ALL: Final = frozenset(
    f"runs:{verb}" for verb in ("list", "read", "payload", "start", "approve", "reject", "unblock")
) | {"runs:cancel", "runs:replay", "workflows:list"}
LOOKING: Final = frozenset({"runs:list", "runs:read", "workflows:list"})

PEOPLE: Final = {
    "ada": ALL,
    "grace": ALL,
    "otto": LOOKING | {"runs:payload"},  # may only look
    "vera": LOOKING,  # may look, but not at data
    "nobody": frozenset[str](),
}


def take(seconds: float) -> None:
    """Let this step have taken a while, where a test has made the time its own."""
    clock = state().clock
    if isinstance(clock, FrozenClock):
        clock.advance(seconds=seconds)


def note(**_inputs: Any) -> dict[str, str]:
    """Do what a step that always succeeds does."""
    take(0.18)
    return {"noted": "yes"}


def decline(**_inputs: Any) -> None:
    """Do what a step that fails for good does."""
    take(1.2)
    raise StepFailed("the card was declined", code="card_declined", details={"attempts": 3})


def stumble(**_inputs: Any) -> None:
    """Do what a step does whose other end is away."""
    take(5.0)
    raise ConnectionError("the gateway does not answer")


class Refund(Workflow):
    """Pay money back when somebody agrees."""

    version = "2026-11-01"

    refund = manual(account=fields.Raw(required=True), amount=fields.Raw(load_default=0))

    load_account = step(note)
    agree = approval(output="decision")
    pay_back = step(note)
    tell_why_not = step(note)

    transitions = [
        load_account >> agree >> pay_back >> complete,
        agree.on_error(tell_why_not),
        tell_why_not >> complete,
    ]


class Charge(Workflow):
    """Charge a card that is declined."""

    charge = manual(account=fields.Raw(load_default="ada"))

    charge_card = step(decline)

    transitions = [charge_card >> complete]


class Sync(Workflow):
    """Ask a gateway that is away, again and again."""

    sync = manual()

    ask_gateway = step(
        stumble, retry=Retry(max_attempts=5, backoff=exponential(minimum=60, maximum=3600))
    )

    transitions = [ask_gateway >> complete]


class Settlement(Workflow):
    """Wait for a person who says that the work may go on, then for a day."""

    settlement = manual()

    first = step(note)
    cool_down = wait(seconds=86_400)
    hold = pause()
    last = step(note)

    transitions = [
        first >> hold >> cool_down >> last >> complete,
        last.on_error(first),
    ]


def wide(width: int) -> type[Workflow]:
    """Return a workflow with *width* branches between a root and a join."""
    names = [f"branch_{number}" for number in range(width)]
    body: dict[str, Any] = {"spread": manual(), "root": step(note)}
    body |= {name: step(note, after=["root"]) for name in names}
    body["join"] = step(note, after=names)
    made: Any = WorkflowType(f"Wide{width}", (Workflow,), body)
    return made  # type: ignore[no-any-return]


Wide: Final = wide(300)
WORKFLOWS: Final[Sequence[type[Workflow]]] = (Refund, Charge, Sync, Settlement, Wide)

db = SQLAlchemy()


def make_app(url: str, **config: Any) -> tuple[Flask, SquidMesh]:
    """Return the application with its tables, and its workflows.

    `/as/NAME` logs a person of `PEOPLE` in. Work is executed by the tests.
    """
    app = Flask("browser_host")
    app.config.from_mapping(
        SECRET_KEY="for tests only",  # protects nothing
        SQLALCHEMY_DATABASE_URI=url,
        SQUIDMESH_DISPATCH="manual",
        SQUIDMESH_BLUEPRINT=True,
        SQUIDMESH_DASHBOARD=True,
        SESSION_COOKIE_SAMESITE="Lax",
        **config,
    )
    db.init_app(app)
    squidmesh = SquidMesh(app, db=db, workflows=WORKFLOWS)

    @squidmesh.authorize
    def who_may(action: str, run: Run | None) -> str | None:
        name = session.get("name", "nobody")
        return name if action in PEOPLE[name] else None

    @app.get("/as/<name>")
    def log_in(name: str) -> Response:
        session["name"] = name
        return redirect("/squidmesh/dashboard/")

    with app.app_context():
        sqlite.configure(db.engine)
        db.create_all()
    return app, squidmesh


def whole(app: Flask) -> WSGIApplication:
    """Let each answer be complete before it is sent.

    The development server leaves the file of one open whose browser has hung up meanwhile.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return Response.from_app(app, environ, buffered=True)(environ, start_response)

    return answer


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve *app* on a free port of this host; yield its address, without a slash at the end."""
    server = make_server("127.0.0.1", 0, whole(app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="browser-host")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

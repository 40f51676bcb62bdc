"""One finished run of every kind, executed by the engine: what `benchmarks.history` multiplies.

The kinds differ in how often they occur: from the order that goes through,
which is every second run, to the account that could not be closed, of which
there are some dozens in a million.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields

from flask_squidmesh import (
    Retry,
    Run,
    SquidMesh,
    StepFailed,
    Workflow,
    approval,
    complete,
    cron,
    exponential,
    log,
    manual,
    step,
    wait,
)
from flask_squidmesh.current import state
from flask_squidmesh.store import models
from flask_squidmesh.testing import freeze, run_until_idle

_log: Final = logging.getLogger("flask_squidmesh.steps")
BEGAN: Final = datetime(2026, 1, 1, 9, tzinfo=UTC)
OF_A_RUN: Final = ("runs", "run_states", "step_runs", "attempts", "joins", "audit_events")


def _take(seconds: float) -> None:
    clock: Any = state().clock
    clock.advance(seconds=seconds)


def reserve(order: str) -> dict[str, Any]:
    """Take the goods from the shelf."""
    _take(0.05)
    return {"reservation": {"order": order, "shelves": ["A-17", "C-03"], "weight_grams": 1250}}


def charge(order: str, card: str) -> dict[str, Any]:
    """Ask for the money; some cards have none."""
    _take(0.8)
    if card == "empty":
        raise StepFailed("the card was declined", code="declined", details={"order": order})
    if card == "unreachable":
        raise ConnectionError("the bank does not answer")
    return {"charge": {"order": order, "amount": "119.00", "currency": "EUR"}}


def ship(order: str) -> dict[str, Any]:
    """Hand the parcel over."""
    _take(0.3)
    return {"parcel": {"order": order, "carrier": "mule", "tracking": "M-000000000000"}}


def notify() -> None:
    """Write to the customer."""
    _take(0.1)


class OrderFulfilment(Workflow):
    """A straight path with retries and an error route; the most of all runs."""

    version = "2026-01"
    shop = manual(order=fields.String(required=True), card=fields.String(required=True))
    partner = manual(order=fields.String(required=True), card=fields.String(required=True))
    reserve = step(reserve)
    charge = step(charge, retry=Retry(max_attempts=3, backoff=exponential(minimum=1, maximum=30)))
    ship = step(ship)
    release = step(notify)
    notify = step(notify)
    transitions = [
        reserve >> charge >> ship >> notify >> complete,
        charge.on_error(release),
        release >> complete,
    ]


def read(invoice: str) -> dict[str, Any]:
    """Read the scanned invoice."""
    _take(2)
    return {"lines": [{"text": "paper", "net": "40.00"}], "total": "47.60", "invoice": invoice}


class InvoiceApproval(Workflow):
    """Somebody decides."""

    mail = manual(invoice=fields.String(required=True))
    upload = manual(invoice=fields.String(required=True))
    read = step(read, output="document")
    sign = approval(output="decision")
    book = step(lambda: _take(0.2))
    send_back = step(lambda: _take(0.2))
    transitions = [
        read >> sign >> book >> complete,
        sign.on_error(send_back),
        send_back >> complete,
    ]


def parse(kind: str) -> Callable[..., dict[str, Any]]:
    """Return a function that reads one part of a catalogue."""

    def work(broken: str = "") -> dict[str, Any]:
        _take(1.5)
        if broken == kind:
            raise ValueError(f"no {kind} in line 4711")
        return {kind: {"rows": 4711, "skipped": 3}}

    return work


class CatalogueImport(Workflow):
    """A fan-out and a join."""

    upload = manual(broken=fields.String(load_default=""))
    fetch = step(lambda: _take(4))
    prices = step(parse("prices"), after=[fetch])
    stock = step(parse("stock"), after=[fetch])
    images = step(parse("images"), after=[fetch])
    publish = step(lambda: _take(1), after=[prices, stock, images])


class HourlyDigest(Workflow):
    """Started by the hour, rarely by hand."""

    hourly = cron("@hourly")
    upload = manual()
    collect = step(lambda: {"messages": 12})
    rest = wait(seconds=30)
    done = log("the digest is out")
    transitions = [collect >> rest >> done >> complete]


class AccountClosure(Workflow):
    """Seldom."""

    support = manual()
    close = step(charge, input={"order": "order", "card": "card"})
    transitions = [close >> complete]


WORKFLOWS: Final = (
    OrderFulfilment,
    InvoiceApproval,
    CatalogueImport,
    HourlyDigest,
    AccountClosure,
)


@dataclass(frozen=True)
class Kind:
    """A kind of run: what it is started with, what people do to it, and how often it occurs."""

    workflow: type[Workflow]
    trigger: str
    weight: float
    status: str
    payload: dict[str, Any] = field(default_factory=dict)
    decide: str | None = None
    keyed: bool = False
    replayed: bool = False


_ORDER: Final = {"order": "order-@number@", "card": "good"}
_INVOICE: Final = {"invoice": "invoices/@number@.pdf"}

# fmt: off
KINDS: Final = (
    Kind(OrderFulfilment, "shop", 48, "completed", _ORDER, keyed=True),
    Kind(OrderFulfilment, "partner", 6, "completed", _ORDER),
    Kind(OrderFulfilment, "shop", 3, "completed", {**_ORDER, "card": "empty"}, keyed=True),
    Kind(OrderFulfilment, "shop", 2, "completed", {**_ORDER, "card": "unreachable"}),
    Kind(OrderFulfilment, "shop", 1, "completed", _ORDER, replayed=True),
    Kind(OrderFulfilment, "partner", 0.5, "cancelled", _ORDER, decide="cancel"),
    Kind(InvoiceApproval, "mail", 15, "completed", _INVOICE, decide="approve"),
    Kind(InvoiceApproval, "mail", 3, "completed", _INVOICE, decide="reject"),
    Kind(InvoiceApproval, "upload", 1, "cancelled", _INVOICE, decide="cancel_paused"),
    Kind(CatalogueImport, "upload", 14, "completed"),
    Kind(CatalogueImport, "upload", 2, "failed", {"broken": "stock"}),
    Kind(HourlyDigest, "upload", 0.1, "completed"),
    Kind(AccountClosure, "support", 0.004, "failed"),
    Kind(HourlyDigest, "hourly", 0, "completed"),
)
# fmt: on
CRON: Final = len(KINDS) - 1
"""The kind that is started by the clock, and so has no weight."""


@dataclass(frozen=True)
class Specimen:
    """The rows of one run, by table, and how many seconds it took."""

    kind: Kind
    rows: dict[str, list[dict[str, Any]]]
    seconds: float


def record() -> tuple[list[Specimen], Sequence[dict[str, Any]]]:
    """Execute one run of every kind; return them, and the rows of their definitions."""
    db, squidmesh = SQLAlchemy(), SquidMesh(workflows=WORKFLOWS)
    app = Flask("benchmarks.specimens")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SQUIDMESH_DISPATCH="manual")
    db.init_app(app)
    squidmesh.init_app(app, db=db)
    with app.app_context(), _silence():
        db.create_all()
        found = [Specimen(kind, *_rows(db, _execute(squidmesh, kind))) for kind in KINDS]
        with db.engine.connect() as connection:
            definitions = connection.execute(sa.select(models.definitions)).mappings().all()
        db.engine.dispose()
    return found, [dict(row) for row in definitions]


@contextmanager
def _silence() -> Iterator[None]:
    """Some specimens are to fail; nobody needs to be told."""
    usual, _log.disabled = _log.disabled, True
    try:
        yield
    finally:
        _log.disabled = usual


def _execute(squidmesh: SquidMesh, kind: Kind) -> Run:
    key = "@number@" if kind.keyed else None
    with freeze(BEGAN):
        run = squidmesh.start_run(
            kind.workflow,
            kind.payload,
            trigger=kind.trigger,
            idempotency_key=key and f"{key} {KINDS.index(kind)}",
        )
        if kind.replayed:
            run_until_idle(advance=True)
            run = squidmesh.replay_run(run.id, actor="ada")
        if kind.decide == "cancel":
            return squidmesh.cancel_run(run.id, actor="bob", comment="ordered twice")
        run_until_idle(advance=True)
        if kind.decide is not None:
            _take(5400)
            if kind.decide == "approve":
                squidmesh.approve_run(run.id, actor={"id": 7, "name": "Ada"})
            elif kind.decide == "reject":
                squidmesh.reject_run(run.id, actor="ada", comment="the total is wrong")
            else:
                squidmesh.cancel_run(run.id, actor="ada")
            run_until_idle(advance=True)
        run = squidmesh.inspect_run(run.id)
    if run.status != kind.status:
        raise RuntimeError(f"a specimen of {kind.workflow.__name__} is {run.status}")
    return run


def _rows(db: SQLAlchemy, run: Run) -> tuple[dict[str, list[dict[str, Any]]], float]:
    rows = {}
    with db.engine.connect() as connection:
        for name in OF_A_RUN:
            table: sa.Table = getattr(models, name)
            key = table.c.id if name == "runs" else table.c.run_id
            query = sa.select(table).where(key == run.id).order_by(*table.primary_key)
            rows[name] = [
                dict(_since(run.created_at, row)) for row in connection.execute(query).mappings()
            ]
    if run.finished_at is None:
        raise RuntimeError(f"a specimen of {run.workflow} is {run.status}")
    return rows, (run.finished_at - run.created_at).total_seconds()


def _since(began: datetime, row: Any) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        yield name, (value - began).total_seconds() if isinstance(value, datetime) else value

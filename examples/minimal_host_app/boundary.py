"""What this application can do with its workflows: one thin function each.

Views, commands and the demo call these and nothing else of flask_squidmesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import current_app
from sqlalchemy import update

from flask_squidmesh import Explanation, Run, RunPage
from minimal_host_app.extensions import db, squidmesh
from minimal_host_app.models import Invoice
from minimal_host_app.workflows import (
    CancellableWait,
    DailyDigest,
    DependencyRecovery,
    LocalLedgerCheckout,
    ManualApproval,
    PaymentRecovery,
    RetryVerification,
)

Request = Mapping[str, Any]


class UnknownInvoice(LookupError):
    """The account has no such invoice; nothing was started."""


class InvoiceNotOpen(Exception):
    """Somebody else is paying the invoice, or has; nothing was started."""


def start_payment_recovery(request: Request, *, idempotency_key: str | None = None) -> Run:
    """Start recovering the payment of an invoice, and mark the invoice in the same transaction."""
    # Which gateway is called is our decision, not the caller's.
    payload = {**request, "gateway_url": current_app.config["GATEWAY_URL"]}
    with _transaction():
        run = squidmesh.start_run(
            PaymentRecovery, payload, session=db.session, idempotency_key=idempotency_key
        )
        invoice = _invoice_of(run)
        if invoice.status == "open":
            invoice.status = "recovering"
    return run


def start_payment_plan(request: Request, *, idempotency_key: str | None = None) -> Run:
    """Offer to pay an invoice in parts."""
    with _transaction():
        run = squidmesh.start_run(
            DependencyRecovery, request, session=db.session, idempotency_key=idempotency_key
        )
        _invoice_of(run)
    return run


def start_manual_approval(request: Request, *, idempotency_key: str | None = None) -> Run:
    """Ask for a decision about a refund."""
    return squidmesh.start_run(ManualApproval, request, idempotency_key=idempotency_key)


def start_digest(request: Request, *, idempotency_key: str | None = None) -> Run:
    """Write the digest of a day, besides those that the clock asks for."""
    return squidmesh.start_run(
        DailyDigest, request, trigger="by_hand", idempotency_key=idempotency_key
    )


def start_reminder(request: Request, *, idempotency_key: str | None = None) -> Run:
    """Remind a customer of an invoice after a grace period; `cancel` stops that."""
    with _transaction():
        run = squidmesh.start_run(
            CancellableWait, request, session=db.session, idempotency_key=idempotency_key
        )
        _invoice_of(run)
    return run


def start_verification(request: Request, *, idempotency_key: str | None = None) -> Run:
    """Look for an announced transfer until it has arrived."""
    return squidmesh.start_run(RetryVerification, request, idempotency_key=idempotency_key)


def start_checkout(request: Request, *, idempotency_key: str | None = None) -> Run:
    """Pay an invoice from the balance; of several who try at once, one gets the invoice."""
    with _transaction():
        run = squidmesh.start_run(
            LocalLedgerCheckout, request, session=db.session, idempotency_key=idempotency_key
        )
        invoice = _invoice_of(run)
        if run.status != "pending":
            # A repeated request; the invoice may be somebody else's by now.
            return run
        taken = db.session.scalar(
            update(Invoice)
            .where(Invoice.id == invoice.id, Invoice.status == "open")
            .values(status="paying", checkout_run_id=run.id)
            .returning(Invoice.id)
        )
        if taken is None and invoice.checkout_run_id != run.id:
            raise InvoiceNotOpen(f"invoice {invoice.id} is not open")
    return run


def inspect(run_id: str, *, include_history: bool = False) -> Run:
    return squidmesh.inspect_run(run_id, include_history=include_history)


def explain(run_id: str) -> Explanation:
    return squidmesh.explain_run(run_id)


def list_runs(**filters: Any) -> RunPage:
    return squidmesh.list_runs(**filters)


def approve(run_id: str, *, actor: str | None, comment: str | None = None) -> Run:
    return squidmesh.approve_run(run_id, actor=actor, comment=comment)


def reject(run_id: str, *, actor: str | None, comment: str | None = None) -> Run:
    return squidmesh.reject_run(run_id, actor=actor, comment=comment)


def unblock(run_id: str, *, actor: str | None, comment: str | None = None) -> Run:
    return squidmesh.unblock_run(run_id, actor=actor, comment=comment)


def cancel(run_id: str, *, actor: str | None, comment: str | None = None) -> Run:
    return squidmesh.cancel_run(run_id, actor=actor, comment=comment)


def _invoice_of(run: Run) -> Invoice:
    invoice = db.session.get(Invoice, run.payload["invoice_id"])
    if invoice is None or invoice.account_id != run.payload["account_id"]:
        raise UnknownInvoice("this account has no such invoice")
    return invoice


@contextmanager
def _transaction() -> Iterator[None]:
    try:
        yield
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise

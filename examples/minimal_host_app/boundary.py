"""What this application can do with its workflows: one thin function each.

Views, commands and the demo call these and nothing else of flask_squidmesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import current_app

from flask_squidmesh import Run, RunPage
from minimal_host_app.extensions import db, squidmesh
from minimal_host_app.models import Invoice
from minimal_host_app.workflows import ManualApproval, PaymentRecovery


class UnknownInvoice(LookupError):
    """The account has no such invoice; nothing was started."""


def start_payment_recovery(
    request: Mapping[str, Any], *, idempotency_key: str | None = None
) -> Run:
    """Start recovering the payment of an invoice, and mark the invoice in the same transaction."""
    # Which gateway is called is our decision, not the caller's.
    payload = {**request, "gateway_url": current_app.config["GATEWAY_URL"]}
    with _transaction():
        run = squidmesh.start_run(
            PaymentRecovery, payload, session=db.session, idempotency_key=idempotency_key
        )
        invoice = db.session.get(Invoice, run.payload["invoice_id"])
        if invoice is None or invoice.account_id != run.payload["account_id"]:
            raise UnknownInvoice("this account has no such invoice")
        if invoice.status == "open":
            invoice.status = "recovering"
    return run


def start_manual_approval(request: Mapping[str, Any], *, idempotency_key: str | None = None) -> Run:
    """Ask for a decision about a refund."""
    return squidmesh.start_run(ManualApproval, request, idempotency_key=idempotency_key)


def inspect(run_id: str, *, include_history: bool = False) -> Run:
    return squidmesh.inspect_run(run_id, include_history=include_history)


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


@contextmanager
def _transaction() -> Iterator[None]:
    try:
        yield
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise

"""A card was declined: charge it again, with patience, and write the invoice off if that fails.

Shows a call to an outside system that is repeated safely, a retry policy with
backoff, a timer, and an error route.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from marshmallow import fields

from flask_squidmesh import (
    Retry,
    StepContext,
    StepFailed,
    Workflow,
    complete,
    exponential,
    log,
    manual,
    step,
    wait,
)
from minimal_host_app import billing
from minimal_host_app.extensions import db
from minimal_host_app.models import Invoice


def load_invoice(invoice_id: str) -> dict[str, Any]:
    return billing.describe_invoice(invoice_id)


def check_gateway(
    gateway_url: str, invoice: Mapping[str, Any], context: StepContext
) -> dict[str, str]:
    """Charge the invoice once more."""
    answer = httpx.post(
        gateway_url,
        json={"invoice": invoice},
        # The same for every attempt: the gateway charges once, however often it is asked.
        headers={"Idempotency-Key": context.idempotency_key},
        timeout=5,
    )
    if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
        raise StepFailed("the gateway declined the card", code="card_declined")
    # Anything else that is wrong may pass: the step's retry policy takes care of it.
    answer.raise_for_status()
    db.session.get_one(Invoice, invoice["id"]).status = "paid"
    return {"charge": answer.json()["charge"]}


def issue_gateway_credit(invoice: Mapping[str, Any], context: StepContext) -> dict[str, int]:
    """Write the invoice off: nobody is chased for a card that does not work."""
    reason = context.failure["message"] if context.failure else "unknown"
    db.session.get_one(Invoice, invoice["id"]).status = "credited"
    return {"credit_id": billing.credit(invoice["account_id"], invoice["amount"], reason)}


def notify_customer(account_id: str, invoice: Mapping[str, Any], charge: str) -> None:
    billing.notify(account_id, f"Invoice {invoice['id']} is paid, thank you (charge {charge}).")


class PaymentRecovery(Workflow):
    """Recover a failed payment, then tell the customer."""

    version = "2026-11-01"

    payment_recovery = manual(
        account_id=fields.String(required=True),
        invoice_id=fields.String(required=True),
        gateway_url=fields.Url(required=True, schemes={"http", "https"}, require_tld=False),
    )

    load_invoice = step(load_invoice, output="invoice")
    settle = wait(seconds=1)
    announce = log("Invoice loaded, checking the gateway", level="info")
    check_gateway = step(
        check_gateway,
        retry=Retry(max_attempts=5, backoff=exponential(minimum=0.5, maximum=5)),
    )
    issue_credit = step(issue_gateway_credit)
    notify_customer = step(notify_customer)

    transitions = [
        load_invoice >> settle >> announce >> check_gateway >> notify_customer >> complete,
        check_gateway.on_error(issue_credit),
        issue_credit >> complete,
    ]

"""The work behind the workflows: ordinary functions, called in the application's context.

What they write through `db.session` is committed by the engine together with
the step, in one transaction. So they do not commit, and they make their
outside calls before their first query: no transaction is open meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from sqlalchemy import update

from flask_squidmesh import StepContext, StepFailed
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Credit, Invoice, Notification


def load_invoice(account_id: str, invoice_id: str) -> dict[str, Any]:
    invoice = db.session.get_one(Invoice, invoice_id)
    return {"id": invoice.id, "account_id": account_id, "amount": invoice.amount}


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
    return {"credit_id": _credit(invoice["account_id"], invoice["amount"], reason)}


def notify_customer(account_id: str, invoice: Mapping[str, Any], charge: str) -> None:
    _notify(account_id, f"Invoice {invoice['id']} is paid, thank you (charge {charge}).")


def check_account(account_id: str) -> dict[str, Any]:
    account = db.session.get(Account, account_id)
    if account is None:
        raise StepFailed(f"there is no account {account_id!r}", code="unknown_account")
    return {"email": account.email, "balance": account.balance}


def issue_refund(account_id: str, amount: int, reason: str) -> dict[str, int]:
    return {"credit_id": _credit(account_id, amount, reason)}


def explain_refusal(account_id: str, decision: Mapping[str, Any]) -> None:
    why = decision.get("comment", "no reason was given")
    _notify(account_id, f"Your refund was not approved: {why}")


def _credit(account_id: str, amount: int, reason: str) -> int:
    credit = Credit(account_id=account_id, amount=amount, reason=reason)
    db.session.add(credit)
    db.session.execute(
        update(Account).where(Account.id == account_id).values(balance=Account.balance + amount)
    )
    return credit.id


def _notify(account_id: str, text: str) -> None:
    db.session.add(Notification(account_id=account_id, text=text))

"""What several steps write: each function adds to the session's transaction, none commits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Credit, Invoice, Notification


def describe_invoice(invoice_id: str) -> dict[str, Any]:
    invoice = db.session.get_one(Invoice, invoice_id)
    return {"id": invoice.id, "account_id": invoice.account_id, "amount": invoice.amount}


def credit(account_id: str, amount: int, reason: str) -> int:
    """Raise the account's balance; return the id of the credit that says why."""
    given = Credit(account_id=account_id, amount=amount, reason=reason)
    db.session.add(given)
    db.session.execute(
        update(Account).where(Account.id == account_id).values(balance=Account.balance + amount)
    )
    return given.id


def notify(account_id: str, text: str) -> None:
    db.session.add(Notification(account_id=account_id, text=text))

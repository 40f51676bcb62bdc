"""A customer pays an invoice from the balance: bookings in our own ledger, and nowhere else.

Shows what a step writes being one transaction with the step's completion. There
is no check for "did I do this already", and none is needed: either the booking
and the end of the step are there, or neither is.
"""

from __future__ import annotations

from marshmallow import fields
from sqlalchemy import update

from flask_squidmesh import StepContext, StepFailed, Workflow, complete, manual, step
from minimal_host_app import billing
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Invoice, LedgerEntry


def take_from_balance(account_id: str, invoice_id: str) -> dict[str, int]:
    amount = db.session.get_one(Invoice, invoice_id).amount
    left = db.session.scalar(
        update(Account)
        .where(Account.id == account_id, Account.balance >= amount)
        .values(balance=Account.balance - amount)
        .returning(Account.balance)
    )
    if left is None:
        raise StepFailed("the balance does not cover the invoice", code="insufficient_balance")
    _book(account_id, invoice_id, "balance", -amount)
    return {"amount": amount}


def pay_invoice(account_id: str, invoice_id: str, amount: int) -> None:
    db.session.get_one(Invoice, invoice_id).status = "paid"
    _book(account_id, invoice_id, "revenue", amount)


def send_receipt(account_id: str, invoice_id: str, amount: int) -> None:
    billing.notify(account_id, f"You paid {amount} for invoice {invoice_id} from your balance.")


def give_back(account_id: str, invoice_id: str, context: StepContext) -> None:
    """Leave the invoice as it was found, so that the customer may try again."""
    invoice = db.session.get_one(Invoice, invoice_id)
    invoice.status, invoice.checkout_run_id = "open", None
    why = context.failure["message"] if context.failure else "unknown"
    billing.notify(account_id, f"Invoice {invoice_id} is not paid: {why}.")


def _book(account_id: str, invoice_id: str, book: str, amount: int) -> None:
    db.session.add(
        LedgerEntry(account_id=account_id, invoice_id=invoice_id, book=book, amount=amount)
    )


class LocalLedgerCheckout(Workflow):
    """Pay an invoice from the account's balance."""

    local_ledger_checkout = manual(
        account_id=fields.String(required=True),
        invoice_id=fields.String(required=True),
    )

    take_from_balance = step(take_from_balance)
    pay_invoice = step(pay_invoice)
    send_receipt = step(send_receipt)
    give_back = step(give_back)

    transitions = [
        take_from_balance >> pay_invoice >> send_receipt >> complete,
        take_from_balance.on_error(give_back),
        give_back >> complete,
    ]

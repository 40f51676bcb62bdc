"""The application's business besides its workflows: accounts, and what is known about them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from minimal_host_app import billing
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Credit, Invoice, LedgerEntry, Notification, Transfer

SEED = {"ada": "ada@example.org", "grace": "grace@example.org"}
AMOUNT = 4200


class UnknownAccount(LookupError):
    """There is no such account."""


def open_account(account_id: str, *, email: str, balance: int = 0) -> None:
    """Add an account with one open invoice, called `invoice-` and the account's id."""
    _add(account_id, email)
    if balance:
        billing.credit(account_id, balance, "paid in")
    db.session.commit()


def add_seed() -> int:
    """Add what is missing of the seed; return how many accounts that were."""
    missing = [name for name in SEED if db.session.get(Account, name) is None]
    for name in missing:
        _add(name, SEED[name])
    db.session.commit()
    return len(missing)


def record_transfer(reference: str, account_id: str, amount: int) -> bool:
    """Note that money has arrived; return whether that is news."""
    if db.session.get(Account, account_id) is None:
        raise UnknownAccount(f"there is no account {account_id!r}")
    is_new = db.session.get(Transfer, reference) is None
    if is_new:
        db.session.add(Transfer(reference=reference, account_id=account_id, amount=amount))
        db.session.commit()
    return is_new


def statement(account_id: str) -> dict[str, Any]:
    """Return everything about an account, as a document."""
    account = db.session.get(Account, account_id)
    if account is None:
        raise UnknownAccount(f"there is no account {account_id!r}")
    invoices = select(Invoice).filter_by(account_id=account_id).order_by(Invoice.id)
    given = select(Credit).filter_by(account_id=account_id).order_by(Credit.id)
    entries = select(LedgerEntry).filter_by(account_id=account_id).order_by(LedgerEntry.id)
    texts = select(Notification.text).filter_by(account_id=account_id).order_by(Notification.id)
    return {
        "id": account.id,
        "email": account.email,
        "balance": account.balance,
        "invoices": {each.id: each.status for each in db.session.scalars(invoices)},
        "credits": [[each.amount, each.reason] for each in db.session.scalars(given)],
        "ledger": [[each.book, each.amount] for each in db.session.scalars(entries)],
        "notifications": list(db.session.scalars(texts)),
    }


def _add(account_id: str, email: str) -> None:
    db.session.add(Account(id=account_id, email=email))
    # Without relationships between the models, the order is ours to keep.
    db.session.flush()
    db.session.add(Invoice(id=f"invoice-{account_id}", account_id=account_id, amount=AMOUNT))

"""What the application itself keeps. Amounts are in cents."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from minimal_host_app.extensions import db


class Account(db.Model):  # type: ignore[misc, name-defined]  # mypy sees no class in it
    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    email: Mapped[str] = mapped_column(String(200))
    balance: Mapped[int] = mapped_column(default=0)


class Invoice(db.Model):  # type: ignore[misc, name-defined]  # mypy sees no class in it
    __tablename__ = "invoices"
    __table_args__ = (
        CheckConstraint(
            "status IN ('open', 'recovering', 'paying', 'paid', 'credited')", "invoice_status"
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default="open")
    # The checkout that pays it, so that a repeated request finds its own again.
    checkout_run_id: Mapped[str | None] = mapped_column(String(36))


class Credit(db.Model):  # type: ignore[misc, name-defined]  # mypy sees no class in it
    __tablename__ = "credits"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int]
    reason: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(DateTime(True), server_default=func.now())


class Notification(db.Model):  # type: ignore[misc, name-defined]  # mypy sees no class in it
    __tablename__ = "notifications"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    text: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(DateTime(True), server_default=func.now())


class LedgerEntry(db.Model):  # type: ignore[misc, name-defined]  # mypy sees no class in it
    """Half of a booking: what one book loses, another one gains."""

    __tablename__ = "ledger_entries"
    __table_args__ = (CheckConstraint("book IN ('balance', 'revenue')", "ledger_entry_book"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoices.id"))
    book: Mapped[str] = mapped_column(String(20))
    amount: Mapped[int]


class Transfer(db.Model):  # type: ignore[misc, name-defined]  # mypy sees no class in it
    """Money that has arrived, as the bank tells us; the reference is the bank's."""

    __tablename__ = "transfers"

    reference: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int]


class Digest(db.Model):  # type: ignore[misc, name-defined]  # mypy sees no class in it
    """What the finance team reads; one per day."""

    __tablename__ = "digests"

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(unique=True)
    text: Mapped[str] = mapped_column(String(500))

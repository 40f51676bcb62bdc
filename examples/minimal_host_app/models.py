"""What the application itself keeps. Amounts are in cents."""

from __future__ import annotations

from datetime import datetime

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
        CheckConstraint("status IN ('open', 'recovering', 'paid', 'credited')", "invoice_status"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default="open")


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

"""Nothing recovered the payment: look at everything side by side, then offer instalments.

Shows a dependency workflow: three steps start together, one joins them, and
two follow it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import fields
from sqlalchemy import func, select

from flask_squidmesh import Workflow, log, manual, step
from minimal_host_app import billing
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Credit


def load_account(account_id: str) -> dict[str, Any]:
    account = db.session.get_one(Account, account_id)
    return {"email": account.email, "balance": account.balance}


def load_invoice(invoice_id: str) -> dict[str, Any]:
    return billing.describe_invoice(invoice_id)


def load_history(account_id: str) -> dict[str, int]:
    given = select(func.count()).where(Credit.account_id == account_id)
    return {"credits": db.session.scalar(given) or 0}


def plan_instalments(
    account: Mapping[str, Any], invoice: Mapping[str, Any], history: Mapping[str, int]
) -> list[int]:
    """Divide what the balance does not cover; who had help before gets more time."""
    owed = max(0, invoice["amount"] - account["balance"])
    count = 4 if history["credits"] else 2
    part, rest = divmod(owed, count)
    return [part + rest, *[part] * (count - 1)]


def offer_plan(account_id: str, invoice: Mapping[str, Any], plan: Sequence[int]) -> None:
    parts = ", ".join(map(str, plan))
    billing.notify(account_id, f"You can pay invoice {invoice['id']} in {len(plan)} parts: {parts}")


class DependencyRecovery(Workflow):
    """Recover a payment by instalments."""

    dependency_recovery = manual(
        account_id=fields.String(required=True),
        invoice_id=fields.String(required=True),
    )

    load_account = step(load_account, output="account")
    load_invoice = step(load_invoice, output="invoice")
    load_history = step(load_history, output="history")
    plan_instalments = step(
        plan_instalments, output="plan", after=[load_account, load_invoice, load_history]
    )
    offer_plan = step(offer_plan, after=[plan_instalments])
    announce = log("A payment plan is being offered", after=[plan_instalments])

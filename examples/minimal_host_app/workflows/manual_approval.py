"""A customer wants money back: a person decides.

Shows an approval with both routes, and what the decision is worth afterwards:
who made it stands in the run's audit events, what was said in its context.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import fields
from marshmallow.validate import Range

from flask_squidmesh import StepFailed, Workflow, approval, complete, manual, step
from minimal_host_app import billing
from minimal_host_app.extensions import db
from minimal_host_app.models import Account


def check_account(account_id: str) -> dict[str, Any]:
    account = db.session.get(Account, account_id)
    if account is None:
        raise StepFailed(f"there is no account {account_id!r}", code="unknown_account")
    return {"email": account.email, "balance": account.balance}


def issue_refund(account_id: str, amount: int, reason: str) -> dict[str, int]:
    return {"credit_id": billing.credit(account_id, amount, reason)}


def explain_refusal(account_id: str, decision: Mapping[str, Any]) -> None:
    why = decision.get("comment", "no reason was given")
    billing.notify(account_id, f"Your refund was not approved: {why}")


class ManualApproval(Workflow):
    """Have a person decide about a refund."""

    manual_approval = manual(
        account_id=fields.String(required=True),
        amount=fields.Integer(required=True, strict=True, validate=Range(min=1)),
        reason=fields.String(required=True),
    )

    check_account = step(check_account, output="account")
    decide = approval(output="decision")
    issue_refund = step(issue_refund)
    explain_refusal = step(explain_refusal)

    transitions = [
        check_account >> decide >> issue_refund >> complete,
        decide.on_error(explain_refusal),
        explain_refusal >> complete,
    ]

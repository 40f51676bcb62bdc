"""A customer says that the money is on its way: look again until it is there, then credit it.

Shows a step that asks for its own retry, and the difference between "not yet"
and "never": the one is tried again, the other goes to the error route at once.
"""

from __future__ import annotations

from marshmallow import fields
from marshmallow.validate import Range

from flask_squidmesh import (
    Retry,
    RetryStep,
    StepContext,
    StepFailed,
    Workflow,
    complete,
    exponential,
    manual,
    step,
)
from minimal_host_app import billing
from minimal_host_app.extensions import db
from minimal_host_app.models import Transfer


def verify_transfer(account_id: str, reference: str, amount: int) -> None:
    transfer = db.session.get(Transfer, reference)
    if transfer is None:
        raise RetryStep(f"transfer {reference} has not arrived yet")
    if (transfer.account_id, transfer.amount) != (account_id, amount):
        raise StepFailed(f"transfer {reference} is not what was announced", code="other_transfer")


def credit_account(account_id: str, reference: str, amount: int) -> dict[str, int]:
    return {"credit_id": billing.credit(account_id, amount, f"transfer {reference}")}


def ask_customer(account_id: str, context: StepContext) -> None:
    why = context.failure["message"] if context.failure else "unknown"
    billing.notify(account_id, f"We miss your payment: {why}.")


class RetryVerification(Workflow):
    """Verify that an announced bank transfer has arrived, and credit it."""

    retry_verification = manual(
        account_id=fields.String(required=True),
        reference=fields.String(required=True),
        amount=fields.Integer(required=True, strict=True, validate=Range(min=1)),
    )

    verify_transfer = step(
        verify_transfer, retry=Retry(max_attempts=5, backoff=exponential(minimum=2, maximum=8))
    )
    credit_account = step(credit_account)
    ask_customer = step(ask_customer)

    transitions = [
        verify_transfer >> credit_account >> complete,
        verify_transfer.on_error(ask_customer),
        ask_customer >> complete,
    ]

"""The application's workflows, found by way of SQUIDMESH_WORKFLOWS."""

from marshmallow import fields
from marshmallow.validate import Range

from flask_squidmesh import (
    Retry,
    Workflow,
    approval,
    complete,
    exponential,
    log,
    manual,
    step,
    wait,
)
from minimal_host_app import steps


class PaymentRecovery(Workflow):
    """Recover a failed payment, then tell the customer."""

    version = "2026-11-01"

    payment_recovery = manual(
        account_id=fields.String(required=True),
        invoice_id=fields.String(required=True),
        gateway_url=fields.Url(required=True, schemes={"http", "https"}, require_tld=False),
    )

    load_invoice = step(steps.load_invoice, output="invoice")
    # Times are short, so that the demo is: think of minutes.
    settle = wait(seconds=1)
    announce = log("Invoice loaded, checking the gateway", level="info")
    check_gateway = step(
        steps.check_gateway,
        retry=Retry(max_attempts=5, backoff=exponential(minimum=0.5, maximum=5)),
    )
    issue_credit = step(steps.issue_gateway_credit)
    notify_customer = step(steps.notify_customer)

    transitions = [
        load_invoice >> settle >> announce >> check_gateway >> notify_customer >> complete,
        check_gateway.on_error(issue_credit),
        issue_credit >> complete,
    ]


class ManualApproval(Workflow):
    """Have a person decide about a refund."""

    manual_approval = manual(
        account_id=fields.String(required=True),
        amount=fields.Integer(required=True, strict=True, validate=Range(min=1)),
        reason=fields.String(required=True),
    )

    check_account = step(steps.check_account, output="account")
    decide = approval(output="decision")
    issue_refund = step(steps.issue_refund)
    explain_refusal = step(steps.explain_refusal)

    transitions = [
        check_account >> decide >> issue_refund >> complete,
        decide.on_error(explain_refusal),
        explain_refusal >> complete,
    ]

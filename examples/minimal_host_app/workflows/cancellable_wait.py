"""An invoice is due: remind the customer when the grace period is over, unless somebody cancels.

Shows a wait that holds no worker, and that can be cancelled at any time. A
cancellation may come too late by a moment, so the last step looks for itself.
"""

from __future__ import annotations

from marshmallow import fields

from flask_squidmesh import Workflow, complete, log, manual, step, wait
from minimal_host_app import billing
from minimal_host_app.extensions import db
from minimal_host_app.models import Invoice


def send_reminder(account_id: str, invoice_id: str) -> dict[str, bool]:
    is_open = db.session.get_one(Invoice, invoice_id).status == "open"
    if is_open:
        billing.notify(account_id, f"Please remember to pay invoice {invoice_id}.")
    return {"reminded": is_open}


class CancellableWait(Workflow):
    """Remind a customer of an open invoice after a grace period."""

    cancellable_wait = manual(
        account_id=fields.String(required=True),
        invoice_id=fields.String(required=True),
    )

    announce = log("The grace period begins")
    grace_period = wait(seconds=3)
    send_reminder = step(send_reminder)

    transitions = [announce >> grace_period >> send_reminder >> complete]

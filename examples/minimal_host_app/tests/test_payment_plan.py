"""DependencyRecovery: three looks side by side, then an offer."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from flask_squidmesh import testing
from minimal_host_app import billing, boundary
from minimal_host_app.extensions import db
from minimal_host_app.models import Notification

REQUEST = {"account_id": "ada", "invoice_id": "invoice-ada"}


def test_what_does_not_depend_on_each_other_starts_together(app):
    with app.app_context():
        run = boundary.start_payment_plan(REQUEST)
        reasons = [each["reason"] for each in boundary.explain(run.id).details["steps"]]
        assert reasons == ["pending_dispatch"] * 3 + ["waiting_for_dependencies"] * 3


@pytest.mark.parametrize(
    ("credited", "plan"), [(0, [2100, 2100]), (200, [1000] * 4), (5000, [0] * 4)]
)
def test_offer_depends_on_what_is_owed_and_on_history(app, credited, plan):
    with app.app_context():
        if credited:
            billing.credit("ada", credited, "sorry")
            db.session.commit()
        run = boundary.start_payment_plan(REQUEST)
        testing.run_until_idle()
        assert boundary.inspect(run.id).context["plan"] == plan
        (text,) = db.session.scalars(select(Notification.text))
        assert f"in {len(plan)} parts" in text


def test_invoice_of_somebody_else_is_refused(app, client):
    refused = client.post("/payment-plans", json={**REQUEST, "account_id": "grace"})
    assert (refused.status_code, refused.json["code"]) == (404, "unknown_invoice")
    with app.app_context():
        assert len(boundary.list_runs()) == 0

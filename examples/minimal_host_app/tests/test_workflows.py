"""What the workflows do to the application's own data, step by step in this process."""

from __future__ import annotations

from sqlalchemy import select

from flask_squidmesh import testing
from minimal_host_app import boundary
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Credit, Invoice, Notification


def recover(name):
    return boundary.start_payment_recovery({"account_id": name, "invoice_id": f"invoice-{name}"})


def end_of(run):
    testing.run_until_idle(advance=True)
    db.session.expire_all()
    return boundary.inspect(run.id, include_history=True)


def test_payment_is_recovered_once_the_gateway_answers(app, gateway):
    with app.app_context():
        run = end_of(recover("ada"))
        assert (run.status, run.context["charge"]) == ("completed", "charge-1")
        (checked,) = [each for each in run.step_runs if each.step == "check_gateway"]
        statuses = [attempt.status for attempt in checked.attempts]
        assert statuses == ["failed", "failed", "completed"]
        assert db.session.get_one(Invoice, "invoice-ada").status == "paid"
        texts = db.session.scalars(select(Notification.text)).all()
        assert texts == ["Invoice invoice-ada is paid, thank you (charge charge-1)."]
        assert gateway.calls == {"invoice-ada": 3}


def test_declined_card_is_credited_without_a_retry(app, gateway):
    with app.app_context():
        run = end_of(recover("grace"))
        assert (run.status, run.last_error) == ("completed", None)
        assert db.session.get_one(Invoice, "invoice-grace").status == "credited"
        assert db.session.get_one(Account, "grace").balance == 4200
        reasons = db.session.scalars(select(Credit.reason)).all()
        assert reasons == ["the gateway declined the card"]
        assert gateway.calls == {"invoice-grace": 1}


def test_gateway_that_never_answers_uses_up_the_attempts(app, gateway):
    gateway.failures = 100
    with app.app_context():
        run = end_of(recover("ada"))
        assert run.status == "completed"
        assert gateway.calls == {"invoice-ada": 5}
        assert db.session.get_one(Invoice, "invoice-ada").status == "credited"


def test_recovery_of_an_unknown_invoice_starts_nothing(app, client):
    refused = client.post(
        "/payment-recoveries", json={"account_id": "ada", "invoice_id": "invoice-grace"}
    )
    assert (refused.status_code, refused.json["code"]) == (404, "unknown_invoice")
    with app.app_context():
        assert len(boundary.list_runs()) == 0
        assert db.session.get_one(Invoice, "invoice-grace").status == "open"


def test_run_and_invoice_are_marked_in_one_transaction(app):
    with app.app_context():
        assert recover("ada").status == "pending"
        db.session.rollback()
        assert db.session.get_one(Invoice, "invoice-ada").status == "recovering"


def test_approved_refund_is_credited(app):
    with app.app_context():
        run = boundary.start_manual_approval({"account_id": "ada", "amount": 5, "reason": "late"})
        testing.run_until_idle()
        boundary.approve(run.id, actor="olivia", comment="seen")
        run = end_of(run)
        assert run.status == "completed"
        assert (
            run.context["decision"].items() >= {"decision": "approved", "actor": "olivia"}.items()
        )
        assert db.session.get_one(Account, "ada").balance == 5


def test_rejected_refund_is_explained(app):
    with app.app_context():
        run = boundary.start_manual_approval({"account_id": "ada", "amount": 5, "reason": "late"})
        testing.run_until_idle()
        boundary.reject(run.id, actor="olivia", comment="not late at all")
        assert end_of(run).status == "completed"
        texts = db.session.scalars(select(Notification.text)).all()
        assert texts == ["Your refund was not approved: not late at all"]
        assert db.session.get_one(Account, "ada").balance == 0

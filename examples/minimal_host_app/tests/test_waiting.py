"""CancellableWait and RetryVerification: time passes, and people change their minds."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from flask_squidmesh import testing
from minimal_host_app import accounts, boundary
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Invoice, Notification

REMINDER = {"account_id": "ada", "invoice_id": "invoice-ada"}
TRANSFER = {"account_id": "ada", "reference": "T-1", "amount": 900}


def letters():
    return db.session.scalars(select(Notification.text)).all()


def history(run):
    return boundary.inspect(run.id, include_history=True)


def test_reminder_comes_when_the_grace_period_is_over(app):
    with app.app_context(), testing.freeze() as clock:
        run = boundary.start_reminder(REMINDER)
        testing.run_until_idle()
        clock.advance(seconds=2.9)
        testing.run_until_idle()
        assert (letters(), boundary.explain(run.id).reason) == ([], "waiting_until")
        clock.advance(seconds=0.1)
        testing.run_until_idle()
        assert letters() == ["Please remember to pay invoice invoice-ada."]


def test_cancelled_reminder_never_comes(app):
    with app.app_context():
        run = boundary.start_reminder(REMINDER)
        testing.run_until_idle()
        assert boundary.cancel(run.id, actor="olivia").status == "cancelled"
        testing.run_until_idle(advance=True)
        assert letters() == []


def test_nobody_is_reminded_of_what_was_paid_meanwhile(app):
    with app.app_context():
        run = boundary.start_reminder(REMINDER)
        testing.run_until_idle()
        db.session.get_one(Invoice, "invoice-ada").status = "paid"
        db.session.commit()
        testing.run_until_idle(advance=True)
        assert boundary.inspect(run.id).context["reminded"] is False
        assert letters() == []


def test_transfer_that_arrives_late_is_credited_once(app):
    with app.app_context(), testing.freeze() as clock:
        run = boundary.start_verification(TRANSFER)
        testing.run_until_idle()
        assert boundary.explain(run.id).reason == "waiting_for_retry"
        assert accounts.record_transfer("T-1", "ada", 900)
        assert not accounts.record_transfer("T-1", "ada", 900)
        clock.advance(seconds=2)
        testing.run_until_idle()
        assert boundary.inspect(run.id).status == "completed"
        assert db.session.get_one(Account, "ada").balance == 900


def test_transfer_that_never_arrives_is_asked_for(app):
    with app.app_context(), testing.freeze() as clock:
        began = clock.now
        run = boundary.start_verification(TRANSFER)
        testing.run_until_idle(advance=True)
        assert (clock.now - began).total_seconds() == 2 + 4 + 8 + 8
        assert boundary.inspect(run.id).status == "completed"
        assert letters() == ["We miss your payment: transfer T-1 has not arrived yet."]


@pytest.mark.parametrize("arrived", [("ada", 800), ("grace", 900)])
def test_other_transfer_is_not_waited_for(app, arrived):
    with app.app_context():
        accounts.record_transfer("T-1", *arrived)
        run = boundary.start_verification(TRANSFER)
        testing.run_until_idle()
        tried = history(run).step_runs[0].attempts
        assert [attempt.error["code"] for attempt in tried] == ["other_transfer"]
        assert letters() == ["We miss your payment: transfer T-1 is not what was announced."]

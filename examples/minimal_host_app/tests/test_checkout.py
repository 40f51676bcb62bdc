"""LocalLedgerCheckout: what is booked is booked once, whoever asks and whatever dies."""

from __future__ import annotations

import pytest
from sqlalchemy import event, select

from flask_squidmesh import testing
from minimal_host_app import billing, boundary
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Invoice, LedgerEntry, Notification

REQUEST = {"account_id": "ada", "invoice_id": "invoice-ada"}
BOOKED = [("balance", -4200), ("revenue", 4200)]


@pytest.fixture
def paid_in(app):
    with app.app_context():
        billing.credit("ada", 5000, "paid in")
        db.session.commit()


def books():
    entries = select(LedgerEntry.book, LedgerEntry.amount).order_by(LedgerEntry.id)
    return [tuple(row) for row in db.session.execute(entries)]


def history(run):
    return boundary.inspect(run.id, include_history=True)


def state():
    db.session.expire_all()
    return db.session.get_one(Invoice, "invoice-ada").status, db.session.get_one(
        Account, "ada"
    ).balance


@pytest.mark.usefixtures("paid_in")
def test_invoice_is_paid_from_the_balance(app):
    with app.app_context():
        run = boundary.start_checkout(REQUEST)
        assert state() == ("paying", 5000)
        testing.run_until_idle()
        assert boundary.inspect(run.id).status == "completed"
        assert (books(), state()) == (BOOKED, ("paid", 800))


@pytest.mark.usefixtures("paid_in")
def test_worker_that_dies_with_the_money_in_its_hands_has_taken_none(app):
    with app.app_context(), testing.freeze() as clock:
        run = boundary.start_checkout(REQUEST)

        def die(*_):
            testing.abandon(run.id, "take_from_balance")

        # The balance is lowered, the entry in the ledger is about to be written.
        event.listen(db.session, "before_flush", die, once=True)
        testing.run_until_idle()
        assert (books(), state()) == ([], ("paying", 5000))

        clock.advance(seconds=app.extensions["squidmesh"].settings.lease_ttl)
        assert testing.tick().expired == 1
        testing.run_until_idle()
        assert (books(), state()) == (BOOKED, ("paid", 800))
        taken = history(run).step_runs[0]
        assert [attempt.status for attempt in taken.attempts] == ["abandoned", "completed"]


def test_balance_that_does_not_suffice_leaves_everything_as_it_was(app):
    with app.app_context():
        run = boundary.start_checkout(REQUEST)
        testing.run_until_idle()
        assert boundary.inspect(run.id).status == "completed"
        assert (books(), state()) == ([], ("open", 0))
        letters = db.session.scalars(select(Notification.text)).all()
        assert letters == [
            "Invoice invoice-ada is not paid: the balance does not cover the invoice."
        ]


def test_customer_who_has_paid_in_may_try_again(app):
    with app.app_context():
        boundary.start_checkout(REQUEST)
        testing.run_until_idle()
        billing.credit("ada", 4200, "paid in")
        db.session.commit()
        boundary.start_checkout(REQUEST)
        testing.run_until_idle()
        assert (books(), state()) == (BOOKED, ("paid", 0))


@pytest.mark.usefixtures("paid_in")
def test_invoice_is_not_paid_twice(app):
    with app.app_context():
        boundary.start_checkout(REQUEST)
        with pytest.raises(boundary.InvoiceNotOpen):
            boundary.start_checkout(REQUEST)
        testing.run_until_idle()
        with pytest.raises(boundary.InvoiceNotOpen):
            boundary.start_checkout(REQUEST)
        assert len(boundary.list_runs()) == 1
        testing.run_until_idle()
        assert books() == BOOKED


def test_repeated_request_is_answered_with_its_run_and_takes_nothing(app):
    with app.app_context():
        first = boundary.start_checkout(REQUEST, idempotency_key="click")
        assert boundary.start_checkout(REQUEST, idempotency_key="click").id == first.id
        testing.run_until_idle()
        # Declined: the invoice is open again, and does not belong to the old request.
        again = boundary.start_checkout(REQUEST, idempotency_key="click")
        assert (again.id, again.status, state()) == (first.id, "completed", ("open", 0))


def test_invoice_of_somebody_else_is_refused(app, client):
    refused = client.post("/checkouts", json={**REQUEST, "account_id": "grace"})
    assert (refused.status_code, refused.json["code"]) == (404, "unknown_invoice")
    with app.app_context():
        assert (len(boundary.list_runs()), state()) == (0, ("open", 0))

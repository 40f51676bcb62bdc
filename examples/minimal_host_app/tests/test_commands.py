"""The commands say no when something is wrong; that they say yes is tested with real workers."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from flask_squidmesh import testing
from minimal_host_app import billing
from minimal_host_app.commands.audit import audit
from minimal_host_app.commands.client import Client
from minimal_host_app.commands.report import Case, CaseEnded
from minimal_host_app.commands.stack import Stack
from minimal_host_app.extensions import close_database, db
from minimal_host_app.factory import create_app
from minimal_host_app.models import Account, Invoice, LedgerEntry


@pytest.fixture
def stack(app, gateway, tmp_path):
    return Stack(app, gateway, tmp_path, "a database")


@pytest.fixture
def checkout(app, stack):
    """The account and the run of a checkout that is done."""
    account = stack.open_account(balance=5000)
    with Case("local_ledger_checkout", "paid") as case:
        request = {"account_id": account, "invoice_id": f"invoice-{account}"}
        run_id = Client(stack, case).start("/checkouts", **request)
    with app.app_context():
        testing.run_until_idle()
    return account, run_id


def failed(case):
    return {check.what: check.found for check in case.checks if not check.passed}


def test_audit_finds_nothing_where_nothing_is(stack, checkout):
    case, runs = audit(stack, [checkout[1]])
    assert (case.passed, failed(case)) == (True, {})
    assert [run["status"] for run in runs] == ["completed"]


def test_audit_finds_what_is_doubled(app, stack, checkout):
    account, run_id = checkout
    with app.app_context():
        for _ in range(2):
            billing.notify(account, "the same letter")
        entry = {"account_id": account, "invoice_id": f"invoice-{account}"}
        db.session.add(LedgerEntry(**entry, book="revenue", amount=4200))
        db.session.commit()
    stack.gateway.charged[f"invoice-{account}"] = 2
    case, _ = audit(stack, [run_id])
    assert failed(case) == {
        "letters sent twice": [(account, "the same letter")],
        "checkouts without exactly two bookings": [f"invoice-{account}"],
        "invoices charged twice": [f"invoice-{account}"],
    }


def test_audit_finds_what_is_stuck_or_lost(app, stack, checkout):
    account, run_id = checkout
    other = stack.open_account()
    with Case("cancellable_wait", "never ends") as case:
        request = {"account_id": other, "invoice_id": f"invoice-{other}"}
        stuck = Client(stack, case).start("/reminders", **request)
    with app.app_context():
        db.session.execute(update(Account).where(Account.id == account).values(balance=5000))
        db.session.get_one(Invoice, f"invoice-{other}").status = "paying"
        db.session.commit()
    case, _ = audit(stack, [run_id, stuck])
    assert failed(case) == {
        "runs that are not over": [stuck],
        "accounts whose balance is not the sum of their bookings": [account],
        "invoices that somebody still holds": [f"invoice-{other}"],
    }
    case, _ = audit(stack, [run_id])
    assert failed(case)["runs that nobody asked for"] == [stuck]


def test_case_keeps_errors_and_ends_at_what_it_can_not_do_without():
    with Case("any", "breaks") as broken:
        broken.expect("one", 1, 1)
        raise OSError("the network is gone")
    assert failed(broken) == {"error": "OSError: the network is gone"}
    with Case("any", "ends") as ended:
        ended.require("one", 2, 1)
        pytest.fail("it went on")
    assert ended.notes == [("FAILED", "one: expected 1, found 2")]
    assert not Case("any", "checks nothing").passed
    with pytest.raises(KeyboardInterrupt), Case("any", "is interrupted"):
        raise KeyboardInterrupt
    assert issubclass(CaseEnded, Exception)


def test_runs_that_get_nowhere_fail_the_command(app):
    """The runs that wait for a second can not end in half of one."""
    result = app.test_cli_runner().invoke(args=["smoke", "--timeout", "0.5", "--json"])
    report = json.loads(result.output)
    assert (result.exit_code, report["passed"]) == (1, False)
    missed = {
        (case["title"], check["what"], check["expected"])
        for case in report["cases"]
        for check in case["checks"]
        if not check["passed"]
    }
    reminder = ("a reminder is sent in time", "status of the run", "completed")
    assert reminder in missed
    assert report["worker_logs"]["here.log"]


def test_worker_that_ends_by_itself_is_named(stack, monkeypatch):
    stack.app.config["SQUIDMESH_LEASE_TTL"] = 60
    monkeypatch.setenv("HOST_APP_SQUIDMESH_QUEUE", "[]")  # which is no name for a queue
    worker = stack.start_worker(concurrency=1)
    account = stack.open_account()
    with Case("cancellable_wait", "nobody works") as case:
        client = Client(stack, case)
        request = {"account_id": account, "invoice_id": f"invoice-{account}"}
        client.until_status(client.start("/reminders", **request), "completed")
    worker.end()
    assert failed(case) == {"workers that ended by themselves": [worker.pid]}


@pytest.mark.parametrize("command", ["smoke", "resilience", "soak"])
def test_database_without_tables_is_refused(tmp_path, command):
    app = create_app({"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"})
    result = app.test_cli_runner().invoke(args=[command])
    close_database(app)
    assert result.exit_code == 1
    assert "run 'flask --app minimal_host_app db upgrade'" in result.output

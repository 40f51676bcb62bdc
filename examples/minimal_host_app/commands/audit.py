"""What must hold in the whole database when all work is done: nothing stuck, nothing doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select

from flask_squidmesh import Run
from minimal_host_app import boundary
from minimal_host_app.commands.client import OVER
from minimal_host_app.commands.report import Case
from minimal_host_app.commands.stack import Stack
from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Credit, Digest, Invoice, LedgerEntry, Notification

Document = dict[str, Any]


def audit(stack: Stack, run_ids: Iterable[str]) -> tuple[Case, list[Document]]:
    """Check the runs and all that was written for them; return the runs, too."""
    with Case("audit", "nothing is stuck, lost or doubled") as case, stack.app.app_context():
        runs = [boundary.inspect(each, include_history=True).to_dict() for each in run_ids]
        _check_runs(case, stack, runs)
        _check_books(case, stack)
    return case, runs


def _check_runs(case: Case, stack: Stack, runs: list[Document]) -> None:
    case.expect("runs that nobody asked for", _unasked(stack, {run["id"] for run in runs}), [])
    case.expect("runs that are not over", [r["id"] for r in runs if r["status"] not in OVER], [])
    case.expect("runs that failed", [r["id"] for r in runs if r["status"] == "failed"], [])
    activations = [(r["id"], each["step"], each["visit"]) for r in runs for each in r["step_runs"]]
    case.expect("steps completed twice", _doubled(activations), [])
    not_once = [
        (run["id"], each["step"])
        for run in runs
        for each in run["step_runs"]
        if each["status"] == "completed"
        and [attempt["status"] for attempt in each["attempts"]].count("completed") != 1
    ]
    case.expect("completed steps without exactly one completed attempt", not_once, [])


def _unasked(stack: Stack, started: set[str]) -> list[str]:
    """Return the runs about accounts of this stack that are none of *started*."""
    found: list[str] = []
    page = boundary.list_runs(limit=500)
    while True:
        about = [run.id for run in page if _account_of(run).startswith(stack.prefix)]
        found += [run_id for run_id in about if run_id not in started]
        # The newest come first, and ids grow with time.
        if page.next is None or page[-1].id < min(started, default=""):
            return found
        page = boundary.list_runs(limit=500, after=page.next)


def _account_of(run: Run) -> str:
    return str((run.payload or {}).get("account_id", ""))


def _check_books(case: Case, stack: Stack) -> None:
    """Look at the accounts of this stack, not at those that were there before."""
    balances = _sums(select(Account.id, Account.balance), Account.id, stack)
    booked = _sums(select(Credit.account_id, Credit.amount), Credit.account_id, stack)
    spent = _sums(
        select(LedgerEntry.account_id, LedgerEntry.amount).where(LedgerEntry.book == "balance"),
        LedgerEntry.account_id,
        stack,
    )
    booked.update(spent)
    wrong = [name for name, balance in balances.items() if balance != booked[name]]
    case.expect("accounts whose balance is not the sum of their bookings", wrong, [])

    invoices = select(Invoice.id).where(Invoice.account_id.startswith(stack.prefix))
    held = invoices.where(Invoice.status.in_(["recovering", "paying"]))
    case.expect("invoices that somebody still holds", list(db.session.scalars(held)), [])

    entries = select(LedgerEntry.invoice_id).where(LedgerEntry.account_id.startswith(stack.prefix))
    grouped = entries.group_by(LedgerEntry.invoice_id)
    unbalanced = grouped.having((func.count() != 2) | (func.sum(LedgerEntry.amount) != 0))
    case.expect("checkouts without exactly two bookings", list(db.session.scalars(unbalanced)), [])

    said = select(Notification.account_id, Notification.text).where(
        Notification.account_id.startswith(stack.prefix)
    )
    letters = [tuple(row) for row in db.session.execute(said)]
    case.expect("letters sent twice", _doubled(letters), [])
    case.expect("days with two digests", _doubled(db.session.scalars(select(Digest.day))), [])
    charged = stack.gateway.charged
    case.expect("invoices charged twice", [each for each in charged if charged[each] != 1], [])


def _sums(statement: Any, account_id: Any, stack: Stack) -> Counter[str]:
    sums: Counter[str] = Counter()
    for name, amount in db.session.execute(statement.where(account_id.startswith(stack.prefix))):
        sums[name] += amount
    return sums


def _doubled(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]

"""What customers and staff do with the application, and how each story has to end.

`flask smoke` plays each of them once, `flask soak` all of them, many times, side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minimal_host_app.accounts import AMOUNT
from minimal_host_app.commands.client import Client, attempts
from minimal_host_app.commands.report import Case
from minimal_host_app.commands.stack import Stack


@dataclass(frozen=True)
class Story:
    """A function that plays one use of a workflow and says what it expects."""

    workflow: str
    title: str
    play: Callable[[Client], None]

    def told(self, stack: Stack, **options: float) -> Case:
        """Play it to its end, good or bad."""
        with Case(self.workflow, self.title) as case:
            self.play(Client(stack, case, **options))
        return case


def gateway_recovers(client: Client) -> None:
    account = client.stack.open_account()
    invoice = f"invoice-{account}"
    run_id = client.start("/payment-recoveries", account_id=account, invoice_id=invoice)
    run = client.until_status(run_id, "completed")
    client.case.expect("attempts", attempts(run, "check_gateway"), ["failed", "completed"])
    text = f"Invoice {invoice} is paid, thank you (charge {run['context']['charge']})."
    expect_account(client, account, invoice="paid", notifications=[text])


def card_is_declined(client: Client) -> None:
    account = client.stack.open_account()
    client.stack.gateway.declined.add(account)
    run_id = client.start(
        "/payment-recoveries", account_id=account, invoice_id=f"invoice-{account}"
    )
    run = client.until_status(run_id, "completed")
    client.case.expect("attempts", attempts(run, "check_gateway"), ["failed"])
    credit = [AMOUNT, "the gateway declined the card"]
    expect_account(client, account, invoice="credited", balance=AMOUNT, credits=[credit])


def instalments_are_offered(client: Client) -> None:
    account = client.stack.open_account()
    invoice = f"invoice-{account}"
    run_id = client.start("/payment-plans", account_id=account, invoice_id=invoice)
    run = client.until_status(run_id, "completed")
    begun = {each["step"]: each["created_at"] for each in run["step_runs"]}
    ended = {each["step"]: each["finished_at"] for each in run["step_runs"]}
    loads = ("load_account", "load_invoice", "load_history")
    client.case.expect(
        "plan_instalments began after all it depends on",
        all(ended[step] <= begun["plan_instalments"] for step in loads),
        True,
    )
    text = f"You can pay invoice {invoice} in 2 parts: 2100, 2100"
    expect_account(client, account, notifications=[text])


def refund_is_approved(client: Client) -> None:
    account = client.stack.open_account()
    run_id = client.start("/approvals", account_id=account, amount=1500, reason="charged twice")
    client.until_status(run_id, "paused")
    client.decide(run_id, "approve", comment="I have seen the statement")
    run = client.until_status(run_id, "completed")
    expect_decision(client, run, "approved", "I have seen the statement")
    expect_account(client, account, balance=1500, credits=[[1500, "charged twice"]])


def refund_is_rejected(client: Client) -> None:
    account = client.stack.open_account()
    run_id = client.start("/approvals", account_id=account, amount=1500, reason="I want more")
    client.until_status(run_id, "paused")
    client.decide(run_id, "reject", comment="nothing was charged")
    run = client.until_status(run_id, "completed")
    expect_decision(client, run, "rejected", "nothing was charged")
    text = "Your refund was not approved: nothing was charged"
    expect_account(client, account, notifications=[text])


def digest_is_written_once(client: Client) -> None:
    first, second = (client.start("/digests", day="2026-11-02") for _ in range(2))
    runs = [client.until_status(run_id, "completed") for run_id in (first, second)]
    digests = [run["context"]["digest_id"] for run in runs]
    client.case.expect("one digest for both runs", len(set(digests)), 1)


def reminder_is_cancelled(client: Client) -> None:
    account = client.stack.open_account()
    run_id = client.start("/reminders", account_id=account, invoice_id=f"invoice-{account}")
    client.until_reason(run_id, "waiting_until", "grace_period")
    client.decide(run_id, "cancel", comment="paid by cheque")
    run = client.until_status(run_id, "cancelled")
    statuses = {each["step"]: each["status"] for each in run["steps"]}
    expected = {
        "announce": "completed",
        "grace_period": "cancelled",
        "send_reminder": "not_started",
    }
    client.case.expect("steps", statuses, expected)
    client.decide(run_id, "cancel", comment="once more", status=409)
    expect_account(client, account)


def reminder_is_sent(client: Client) -> None:
    account = client.stack.open_account()
    invoice = f"invoice-{account}"
    run_id = client.start("/reminders", account_id=account, invoice_id=invoice)
    client.until_status(run_id, "completed")
    text = f"Please remember to pay invoice {invoice}."
    expect_account(client, account, notifications=[text])


def transfer_arrives_late(client: Client) -> None:
    account = client.stack.open_account()
    transfer: dict[str, Any] = {"account_id": account, "reference": f"T-{account}", "amount": 900}
    run_id = client.start("/transfer-verifications", **transfer)
    client.until_reason(run_id, "waiting_for_retry", "verify_transfer")
    client.post("/transfers", transfer, status=201)
    client.post("/transfers", transfer, status=200)
    run = client.until_status(run_id, "completed")
    client.case.expect("last attempt", attempts(run, "verify_transfer")[-1], "completed")
    before = set(attempts(run, "verify_transfer")[:-1])
    client.case.expect("attempts before", sorted(before), ["failed"])
    credit = [900, f"transfer T-{account}"]
    expect_account(client, account, balance=900, credits=[credit])


def invoice_is_paid_from_the_balance(client: Client) -> None:
    account = client.stack.open_account(balance=5000)
    request = {"account_id": account, "invoice_id": f"invoice-{account}"}
    run_id = client.start("/checkouts", key=f"pay-{account}", **request)
    again = client.post("/checkouts", request, status=201, **{"Idempotency-Key": f"pay-{account}"})
    client.case.expect("run of the repeated request", again["id"], run_id)
    other = client.post("/checkouts", request, status=409)
    client.case.expect("answer to somebody else", other["code"], "invoice_not_open")
    client.until_status(run_id, "completed")
    expect_account(
        client,
        account,
        invoice="paid",
        balance=5000 - AMOUNT,
        credits=[[5000, "paid in"]],
        ledger=[["balance", -AMOUNT], ["revenue", AMOUNT]],
        notifications=[f"You paid {AMOUNT} for invoice invoice-{account} from your balance."],
    )


def balance_does_not_suffice(client: Client) -> None:
    account = client.stack.open_account(balance=100)
    invoice = f"invoice-{account}"
    run_id = client.start("/checkouts", account_id=account, invoice_id=invoice)
    client.until_status(run_id, "completed")
    text = f"Invoice {invoice} is not paid: the balance does not cover the invoice."
    expect_account(client, account, balance=100, credits=[[100, "paid in"]], notifications=[text])


STORIES = (
    Story("payment_recovery", "the gateway fails once, then charges the card", gateway_recovers),
    Story("payment_recovery", "the card is declined, the invoice is credited", card_is_declined),
    Story("dependency_recovery", "instalments are offered", instalments_are_offered),
    Story("manual_approval", "a refund is approved", refund_is_approved),
    Story("manual_approval", "a refund is rejected", refund_is_rejected),
    Story("daily_digest", "asked for twice by hand, written once", digest_is_written_once),
    Story("cancellable_wait", "a reminder is cancelled", reminder_is_cancelled),
    Story("cancellable_wait", "a reminder is sent in time", reminder_is_sent),
    Story("retry_verification", "a transfer arrives late", transfer_arrives_late),
    Story(
        "local_ledger_checkout",
        "an invoice is paid from the balance, once",
        invoice_is_paid_from_the_balance,
    ),
    Story("local_ledger_checkout", "the balance does not suffice", balance_does_not_suffice),
)


def expect_decision(client: Client, run: dict[str, Any], decision: str, comment: str) -> None:
    events = [[each["type"], each["actor"], each["comment"]] for each in run["audit_events"]]
    decided = [decision, "olivia@example.org", comment]
    client.case.expect("audit events", events, [["paused", None, None], decided])


def expect_account(client: Client, account_id: str, **differences: Any) -> None:
    """Expect an account as it was opened, but for *differences*."""
    found = client.account(account_id)
    (found["invoice"],) = found.pop("invoices").values()
    for what, value in differences.items():
        client.case.expect(what, found[what], value)
    opened = {"invoice": "open", "balance": 0, "credits": [], "ledger": [], "notifications": []}
    rest = {what: value for what, value in opened.items() if what not in differences}
    if rest:
        client.case.expect("the rest of the account", {what: found[what] for what in rest}, rest)

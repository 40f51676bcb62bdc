"""`flask resilience`: what becomes of runs whose worker is killed?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
from flask.cli import ScriptInfo

from minimal_host_app.accounts import AMOUNT
from minimal_host_app.commands.client import Client, Document, attempts
from minimal_host_app.commands.report import Case, Report
from minimal_host_app.commands.stack import Stack, running_stack
from minimal_host_app.commands.stories import expect_account, expect_decision
from minimal_host_app.commands.workers import Worker

LEASE_TTL = 3.0


@click.command("resilience")
@click.option(
    "--timeout", default=60.0, show_default=True, help="Seconds a run may take to get somewhere."
)
@click.option("--json", "as_json", is_flag=True, help="Print a document for programs.")
@click.pass_obj
def resilience(script: ScriptInfo, *, timeout: float, as_json: bool) -> None:
    """Kill workers (SIGKILL) at runs that are queued, executing, delayed, retrying, paused.

    Each time, another worker is started, and the run must end as if nothing had
    happened: nothing lost, nothing done twice.

    Without configuration this uses a temporary SQLite database, shared by
    processes that each carry an embedded worker. HOST_APP_DATABASE_URL and
    HOST_APP_BROKER_URL choose others; then the workers are Celery's. No other
    worker may work on that database meanwhile, or there is nobody to kill.
    Leases last 3 seconds unless HOST_APP_SQUIDMESH_LEASE_TTL says otherwise.

    Exits with 0 only if every check has passed.
    """
    report = Report("resilience", as_json=as_json)
    with running_stack(script, gateway_failures=0, lease_ttl=LEASE_TTL) as stack:
        report.uses(stack.describe("one process at a time, killed and replaced"))
        shift = Shift(stack)
        for case in told(shift, timeout):
            report.add(case)
        code = report.close(stack.logs())
    click.get_current_context().exit(code)


class Shift:
    """The one worker that is on duty, or nobody."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._on_duty: Worker | None = None

    def begin(self, case: Case) -> None:
        """See that somebody works."""
        if self._on_duty is None:
            # One step at a time, so that a run can be seen standing in a queue.
            self._on_duty = self.stack.start_worker(concurrency=1)
            case.did(f"started a worker, process {self._on_duty.pid}")

    def kill(self, case: Case) -> None:
        """See that nobody does."""
        if self._on_duty is not None:
            self._on_duty.kill()
            case.did(f"killed the worker, process {self._on_duty.pid} (SIGKILL)")
            self._on_duty = None


def told(shift: Shift, timeout: float) -> Iterator[Case]:
    cases: tuple[tuple[str, str, Callable[[Client, Shift], None]], ...] = (
        (
            "payment_recovery, local_ledger_checkout",
            "killed while one run executes, and another is queued behind it",
            executing_and_queued,
        ),
        ("cancellable_wait", "killed while the run is delayed", delayed),
        ("retry_verification", "killed while the run waits for a retry", retrying),
        ("manual_approval", "killed while the run is paused", paused),
    )
    for workflow, title, play in cases:
        with Case(workflow, title) as case:
            play(Client(shift.stack, case, timeout=timeout), shift)
        shift.stack.gateway.release()
        yield case


def executing_and_queued(client: Client, shift: Shift) -> None:
    case, stack = client.case, client.stack
    shift.begin(case)
    payer, buyer = stack.open_account(), stack.open_account(balance=5000)
    first, second = f"invoice-{payer}", f"invoice-{buyer}"
    stack.gateway.hold()
    executing = client.start("/payment-recoveries", account_id=payer, invoice_id=first)
    client.until_reason(executing, "step_running", "check_gateway")
    client.until("calls of the gateway", lambda: stack.gateway.calls[first], 1)
    queued = client.start("/checkouts", account_id=buyer, invoice_id=second)
    client.until_reason(queued, "pending_dispatch", "take_from_balance")
    shift.kill(case)
    case.require("status of the queued run", client.run(queued)["status"], "pending")
    # The gateway answers somebody who is gone: it has charged the card, and nobody noted it.
    stack.gateway.release()
    shift.begin(case)

    run = client.until_status(queued, "completed")
    expect_every_attempt(client, run, "completed")
    expect_account(
        client,
        buyer,
        invoice="paid",
        balance=5000 - AMOUNT,
        credits=[[5000, "paid in"]],
        ledger=[["balance", -AMOUNT], ["revenue", AMOUNT]],
        notifications=[f"You paid {AMOUNT} for invoice {second} from your balance."],
    )
    run = client.until_status(executing, "completed")
    case.expect("attempts", attempts(run, "check_gateway"), ["abandoned", "completed"])
    case.expect("calls of the gateway", stack.gateway.calls[first], 2)
    case.expect("charges by the gateway", stack.gateway.charged[first], 1)
    text = f"Invoice {first} is paid, thank you (charge {run['context']['charge']})."
    expect_account(client, payer, invoice="paid", notifications=[text])


def delayed(client: Client, shift: Shift) -> None:
    shift.begin(client.case)
    account = client.stack.open_account()
    invoice = f"invoice-{account}"
    run_id = client.start("/reminders", account_id=account, invoice_id=invoice)
    until = client.until_reason(run_id, "waiting_until", "grace_period")["details"]["until"]
    shift.kill(client.case)
    still = client.until_reason(run_id, "waiting_until", "grace_period")["details"]["until"]
    client.case.expect("time the wait ends at, nobody working", still, until)
    shift.begin(client.case)
    run = client.until_status(run_id, "completed")
    expect_every_attempt(client, run, "completed")
    ended = {each["step"]: each["finished_at"] for each in run["step_runs"]}
    client.case.expect("waited to its end", ended["grace_period"] >= until, True)
    text = f"Please remember to pay invoice {invoice}."
    expect_account(client, account, notifications=[text])


def retrying(client: Client, shift: Shift) -> None:
    case = client.case
    shift.begin(case)
    account = client.stack.open_account()
    transfer: Document = {"account_id": account, "reference": f"T-{account}", "amount": 900}
    run_id = client.start("/transfer-verifications", **transfer)
    client.until_reason(run_id, "waiting_for_retry", "verify_transfer")
    shift.kill(case)
    run = client.run(run_id)
    case.require("status of the run, nobody working", run["status"], "retrying")
    tried = attempts(run, "verify_transfer")
    case.expect("attempts so far", sorted(set(tried)), ["failed"])
    client.post("/transfers", transfer, status=201)
    shift.begin(case)
    run = client.until_status(run_id, "completed")
    case.expect("attempts", attempts(run, "verify_transfer"), [*tried, "completed"])
    expect_account(client, account, balance=900, credits=[[900, f"transfer T-{account}"]])


def paused(client: Client, shift: Shift) -> None:
    case = client.case
    shift.begin(case)
    account = client.stack.open_account()
    run_id = client.start("/approvals", account_id=account, amount=1500, reason="charged twice")
    client.until_status(run_id, "paused")
    shift.kill(case)
    client.decide(run_id, "approve", comment="decided while nobody worked")
    client.until_reason(run_id, "pending_dispatch", "issue_refund")
    shift.begin(case)
    run = client.until_status(run_id, "completed")
    expect_every_attempt(client, run, "completed")
    expect_decision(client, run, "approved", "decided while nobody worked")
    expect_account(client, account, balance=1500, credits=[[1500, "charged twice"]])


def expect_every_attempt(client: Client, run: Document, status: str) -> None:
    steps = [each["step"] for each in run["step_runs"]]
    tried = {step: attempts(run, step) for step in steps}
    client.case.expect("attempts", tried, {step: [status] for step in steps})

"""The class body is the definition."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, fields

from flask_squidmesh.definition.declarations import (
    Retry,
    approval,
    complete,
    cron,
    exponential,
    fixed,
    log,
    manual,
    pause,
    step,
    transition,
    wait,
)
from flask_squidmesh.definition.draft import snake_case
from flask_squidmesh.definition.spec import (
    BackoffSpec,
    Definition,
    RetrySpec,
    StepSpec,
    TransitionSpec,
    TriggerSpec,
)
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.exceptions import WorkflowDefinitionError


def load_invoice(invoice_id: str) -> dict[str, Any]:
    return {"id": invoice_id}


def check_gateway(gateway_url: str) -> None: ...


def issue_gateway_credit(account_id: str) -> None: ...


def notify_customer(account_id: str) -> None: ...


class PaymentRecovery(Workflow):
    """Recover a failed payment, then tell the customer."""

    version = "2026-11-01"  # optional label shown to operators

    payment_recovery = manual(
        account_id=fields.String(required=True),
        invoice_id=fields.String(required=True),
        gateway_url=fields.Url(required=True, schemes={"http", "https"}, require_tld=False),
    )

    load_invoice = step(load_invoice, output="invoice")
    settle = wait(seconds=5)
    announce = log("Invoice loaded, checking the gateway", level="info")
    check_gateway = step(
        check_gateway, retry=Retry(max_attempts=5, backoff=exponential(minimum=1, maximum=30))
    )
    issue_credit = step(issue_gateway_credit)
    notify_customer = step(notify_customer)

    transitions = [
        load_invoice >> settle >> announce >> check_gateway >> notify_customer >> complete,
        check_gateway.on_error(issue_credit),
        issue_credit >> complete,
    ]


EXPECTED = Definition(
    name="payment_recovery",
    version="2026-11-01",
    mode="transition",
    triggers=(
        TriggerSpec(
            "payment_recovery",
            "manual",
            {"account_id": "String", "invoice_id": "String", "gateway_url": "Url"},
        ),
    ),
    steps=(
        StepSpec("load_invoice", "step", output="invoice"),
        StepSpec("settle", "wait", seconds=5.0),
        StepSpec("announce", "log", message="Invoice loaded, checking the gateway", level="info"),
        StepSpec(
            "check_gateway",
            "step",
            retry=RetrySpec(5, BackoffSpec("exponential", 1.0, 30.0, 2.0, 0.0)),
        ),
        StepSpec("issue_credit", "step"),
        StepSpec("notify_customer", "step"),
    ),
    transitions=(
        TransitionSpec("load_invoice", "ok", "settle"),
        TransitionSpec("settle", "ok", "announce"),
        TransitionSpec("announce", "ok", "check_gateway"),
        TransitionSpec("check_gateway", "ok", "notify_customer"),
        TransitionSpec("notify_customer", "ok", "complete"),
        TransitionSpec("check_gateway", "error", "issue_credit"),
        TransitionSpec("issue_credit", "ok", "complete"),
    ),
    entry_steps=("load_invoice",),
)


def test_the_class_body_of_the_specification_is_its_definition():
    assert PaymentRecovery.definition == EXPECTED
    assert PaymentRecovery.name == "payment_recovery"


def test_code_is_found_by_step_and_trigger_name():
    code = PaymentRecovery.__squidmesh__

    assert code.definition is PaymentRecovery.definition
    assert code.description == "Recover a failed payment, then tell the customer."
    assert dict(code.functions) == {
        "load_invoice": load_invoice,
        "check_gateway": check_gateway,
        "issue_credit": issue_gateway_credit,
        "notify_customer": notify_customer,
    }
    assert list(code.parameters) == list(code.functions)
    assert set(code.payload_schemas["payment_recovery"].fields) == {
        "account_id",
        "invoice_id",
        "gateway_url",
    }


def test_a_definition_survives_json():
    for workflow in (PaymentRecovery, Everything, Dependencies):
        stored = json.loads(json.dumps(workflow.definition.to_dict(), allow_nan=False))

        restored = Definition.from_dict(stored)

        assert restored == workflow.definition
        assert restored.fingerprint == stored["fingerprint"] == workflow.definition.fingerprint


def test_keys_a_newer_release_stores_are_no_obstacle():
    stored = PaymentRecovery.definition.to_dict()
    stored["colour"] = "red"
    stored["steps"][3]["colour"] = "red"
    stored["steps"][3]["retry"]["colour"] = "red"
    stored["steps"][3]["retry"]["backoff"]["colour"] = "red"

    assert Definition.from_dict(stored) == PaymentRecovery.definition


def test_the_fingerprint_is_stable_across_releases():
    # Stored definitions and those of running workers are compared by it.
    assert PaymentRecovery.definition.fingerprint == (
        "37e8036482168a0ee2bca9108e8ef3176116dcfdf98ea5baf5161e496ee68693"
    )


def test_the_same_number_written_differently_is_the_same_definition():
    def declare(seconds: float, minimum: float) -> Definition:
        class Timer(Workflow):
            start = manual()
            rest = wait(seconds=seconds)
            work = step(notify_customer, retry=Retry(2, fixed(minimum)))
            transitions = (rest >> work >> complete,)

        return Timer.definition

    assert declare(5, 1).fingerprint == declare(5.0, 1.0).fingerprint


def test_a_changed_route_changes_the_fingerprint():
    changed = dataclasses.replace(PaymentRecovery.definition, transitions=EXPECTED.transitions[:-1])

    assert changed.fingerprint != PaymentRecovery.definition.fingerprint


def test_a_definition_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PaymentRecovery.definition.name = "other"  # type: ignore[misc]  # the point


class Ledger(Schema):
    class Meta:
        unknown = EXCLUDE

    account = fields.Integer(required=True)


class Everything(Workflow):
    name = "billing.everything"

    by_hand = manual(schema=Ledger)
    nightly = cron("@daily", timezone="Europe/Paris", catch_up="all", day=fields.Date())

    @step(
        input={"account": "ledger.accounts.0"},
        input_schema=Ledger,
        output_schema=Ledger(),
        transaction=False,
        at_most_once=True,
    )
    def first(account: int) -> None: ...  # noqa: N805  # a step, not a method

    @step
    def second() -> None: ...

    @step(input=["account"])
    @staticmethod
    def third(account: int) -> None: ...

    hold = pause()
    decide = approval(output="decision")
    nap = wait(timedelta(minutes=1.5))

    transitions = (
        first >> second >> third >> hold >> decide >> nap >> complete,
        decide.on_error(second),
        transition(third, on="error", to=nap),
    )


def test_every_option_reaches_the_definition():
    assert Everything.definition == Definition(
        name="billing.everything",
        version=None,
        mode="transition",
        triggers=(
            TriggerSpec("by_hand", "manual", {"account": "Integer"}),
            TriggerSpec("nightly", "cron", {"day": "Date"}, "@daily", "Europe/Paris", "all"),
        ),
        steps=(
            StepSpec(
                "first",
                "step",
                input={"account": "ledger.accounts.0"},
                transaction=False,
                at_most_once=True,
            ),
            StepSpec("second", "step"),
            StepSpec("third", "step", input=("account",)),
            StepSpec("hold", "pause"),
            StepSpec("decide", "approval", output="decision"),
            StepSpec("nap", "wait", seconds=90.0),
        ),
        transitions=(
            TransitionSpec("first", "ok", "second"),
            TransitionSpec("second", "ok", "third"),
            TransitionSpec("third", "ok", "hold"),
            TransitionSpec("hold", "ok", "decide"),
            TransitionSpec("decide", "ok", "nap"),
            TransitionSpec("nap", "ok", "complete"),
            TransitionSpec("decide", "error", "second"),
            TransitionSpec("third", "error", "nap"),
        ),
        entry_steps=("first",),
    )


def test_schemas_are_made_once():
    code = Everything.__squidmesh__

    assert isinstance(code.input_schemas["first"], Ledger)
    assert isinstance(code.output_schemas["first"], Ledger)
    assert isinstance(code.payload_schemas["by_hand"], Ledger)
    assert Everything.__squidmesh__ is code


class Dependencies(Workflow):
    start = manual()

    report = step(notify_customer, after=["account", "invoice"])
    account = step(load_invoice)
    invoice = step(load_invoice)
    rest = wait(seconds=1, after=[invoice])
    say = log("done", after=[rest, report])


def test_steps_that_wait_for_others_make_a_dependency_workflow():
    definition = Dependencies.definition

    assert definition.mode == "dependency"
    assert definition.entry_steps == ("account", "invoice")
    assert {s.name: s.depends_on for s in definition.steps} == {
        "report": ("account", "invoice"),
        "account": (),
        "invoice": (),
        "rest": ("invoice",),
        "say": ("rest", "report"),
    }
    assert definition.sinks == ("say",)
    assert definition.transitions == ()


def test_a_loop_back_is_legal_and_starts_at_the_first_step():
    class Poll(Workflow):
        start = manual()
        ask = step(check_gateway)
        rest = wait(seconds=1)
        transitions = (ask >> complete, ask.on_error(rest), rest >> ask)

    assert Poll.definition.entry_steps == ("ask",)


def test_a_subclass_inherits_declarations_and_its_own_win():
    class Cautious(PaymentRecovery):
        settle = wait(seconds=60)
        version = "cautious"

    definition = Cautious.definition

    assert definition.name == "cautious"
    assert definition.version == "cautious"
    assert definition.steps_by_name["settle"].seconds == 60.0
    assert definition.transitions == EXPECTED.transitions
    assert [s.name for s in definition.steps] == [s.name for s in EXPECTED.steps]


def test_a_mixin_may_bring_steps():
    class Notifies:
        notify = step(notify_customer)

    class Recovery(Notifies, Workflow):
        start = manual()
        transitions = (Notifies.notify >> complete,)

    assert [s.name for s in Recovery.definition.steps] == ["notify"]


def test_the_base_class_is_not_checked():
    assert not hasattr(Workflow, "definition")


def test_a_class_with_problems_is_not_created():
    with pytest.raises(WorkflowDefinitionError):

        class Empty(Workflow):
            pass

    assert "Empty" not in locals()


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("PaymentRecovery", "payment_recovery"),
        ("HTTPSync2Run", "http_sync2_run"),
        ("SyncHTTP", "sync_http"),
        ("A", "a"),
        ("already_snake", "already_snake"),
        ("Étape2Finale", "étape2_finale"),
    ],
)
def test_a_workflow_is_called_like_its_class_in_snake_case(class_name, name):
    assert snake_case(class_name) == name

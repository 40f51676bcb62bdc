"""One workflow for each thing that the commands have to show."""

from __future__ import annotations

from marshmallow import fields

from flask_squidmesh import (
    Retry,
    StepFailed,
    Workflow,
    approval,
    complete,
    cron,
    fixed,
    manual,
    pause,
    step,
    wait,
)


def refuse():
    raise StepFailed("the bank said no", code="refused")


def fail():
    raise ConnectionError("no route\x1b[31m to the bank")


class Purchase(Workflow):
    version = "7"
    buy = manual(item=fields.String(required=True), price=fields.Integer(load_default=1))
    gift = manual(item=fields.String(required=True))
    price_it = step(lambda item: {"quoted": f"{item} for 3"})
    decide = approval(output="decision")
    deliver = step(lambda: None)
    apologise = step(lambda: None)
    transitions = [  # the specification writes it like this
        price_it >> decide >> deliver >> complete,
        decide.on_error(apologise),
        apologise >> complete,
    ]


class Hold(Workflow):
    go = manual()
    stop = pause()
    work = step(lambda: None)
    transitions = [stop >> work >> complete]  # the specification writes it like this


class Nap(Workflow):
    go = manual()
    nap = wait(seconds=60)
    transitions = [nap >> complete]  # the specification writes it like this


class Flaky(Workflow):
    go = manual()
    call = step(fail, retry=Retry(2, backoff=fixed(30)))
    transitions = [call >> complete]  # the specification writes it like this


class Refused(Workflow):
    go = manual()
    ask = step(refuse)
    transitions = [ask >> complete]  # the specification writes it like this


class Fan(Workflow):
    go = manual()
    left = step(lambda: {"left": 1})
    right = step(lambda: {"right": 2})
    both = step(lambda left, right: {"sum": left + right}, after=[left, right])


class Digest(Workflow):
    nightly = cron("30 2 * * *", timezone="Europe/Berlin")
    by_hand = manual()
    send = step(lambda: None)
    transitions = [send >> complete]  # the specification writes it like this

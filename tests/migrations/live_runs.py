"""Runs in every state in which an upgrade can meet them, and how each has to end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from marshmallow import fields

from flask_squidmesh import (
    Explanation,
    Retry,
    Run,
    StepContext,
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
from flask_squidmesh.operations import (
    approve_run,
    cancel_run,
    explain_run,
    inspect_run,
    list_runs,
    start_run,
    unblock_run,
)
from flask_squidmesh.testing import abandon, execute_next, freeze, run_until_idle, tick

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def greet(name: str) -> dict[str, str]:
    return {"greeting": f"hello, {name}"}


def lose_the_worker_once(context: StepContext) -> None:
    if context.attempt == 1:
        abandon(context.run_id, context.step)


def fail_once(context: StepContext) -> None:
    if context.attempt == 1:
        raise ConnectionError("not yet")


def be_cancelled_and_lost(context: StepContext) -> None:
    cancel_run(context.run_id, actor="ada")
    abandon(context.run_id, context.step)


def refuse() -> None:
    raise StepFailed("no")


class Greet(Workflow):
    go = manual(name=fields.String(required=True))
    greet = step(greet)
    breathe = wait(seconds=5)
    transitions = [greet >> breathe >> complete]  # the specification writes it like this


class Untouched(Workflow):
    go = manual(name=fields.String(load_default="ada"))
    work = step(greet)
    transitions = [work >> complete]  # the specification writes it like this


class Taken(Workflow):
    go = manual()
    work = step(lose_the_worker_once)
    transitions = [work >> complete]  # the specification writes it like this


class Failing(Workflow):
    go = manual()
    work = step(fail_once, retry=Retry(2, backoff=fixed(30)))
    transitions = [work >> complete]  # the specification writes it like this


class Sleeping(Workflow):
    go = manual()
    sleep = wait(seconds=60)
    transitions = [sleep >> complete]  # the specification writes it like this


class Held(Workflow):
    go = manual()
    hold = pause()
    transitions = [hold >> complete]  # the specification writes it like this


class Asking(Workflow):
    go = manual()
    ask = approval(output="decision")
    excuse = step(lambda: None)
    transitions = [ask >> complete, ask.on_error(excuse), excuse >> complete]


class Ending(Workflow):
    go = manual()
    work = step(be_cancelled_and_lost)
    transitions = [work >> complete]  # the specification writes it like this


class Joining(Workflow):
    go = manual()
    left = step(lambda: {"left": 1})
    right = step(lambda: {"right": 2})
    both = step(lambda left, right: {"sum": left + right}, after=[left, right])


class Refused(Workflow):
    go = manual()
    work = step(refuse)
    transitions = [work >> complete]  # the specification writes it like this


class Nightly(Workflow):
    night = cron("30 2 * * *")
    work = step(lambda: None)
    transitions = [work >> complete]  # the specification writes it like this


LIVE: Mapping[type[Workflow], tuple[str, str, str]] = {
    # which                  status of run and step    and at the end
    Untouched: ("pending", "pending", "completed"),
    Taken: ("running", "running", "completed"),
    Failing: ("retrying", "retrying", "completed"),
    Sleeping: ("running", "waiting", "completed"),
    Held: ("paused", "paused", "completed"),
    Asking: ("paused", "paused", "completed"),
    Ending: ("cancelling", "running", "cancelled"),
    Joining: ("running", "pending", "completed"),
    Refused: ("failed", "failed", "failed"),
}


def begin_all() -> None:
    """Start a run of each, bring it where it is to stand, and let the ticker see the schedule."""
    with freeze(NOON):
        tick()
        start_all(set(LIVE) - {Untouched, Joining})
        run_until_idle()
        start_all({Joining})
        execute_next()
        start_all({Untouched})


def start_all(workflows: Iterable[type[Workflow]]) -> list[str]:
    """Start a run of each, or find the one there is; return the ids."""
    return [
        start_run(workflow, idempotency_key="once").id
        for workflow in sorted(workflows, key=lambda each: each.name)
    ]


def standing() -> dict[str, tuple[str, str]]:
    """Return for each workflow the status of its run, and of the step it stands at."""
    found = {}
    for run in list_runs():
        steps = inspect_run(run.id, include_history=True).step_runs or ()
        found[run.workflow] = run.status, steps[-1].status
    return found


def everything() -> list[tuple[Run, Explanation]]:
    """Return all that can be known of every run, some minutes later."""
    with freeze(NOON + timedelta(minutes=5)):
        return [
            (inspect_run(run.id, include_history=True), explain_run(run.id)) for run in list_runs()
        ]


def end_all() -> dict[str, str]:
    """Decide what waits for somebody, let the night come, work everything off."""
    with freeze(NOON + timedelta(hours=1)) as clock:
        for run in list_runs(status="paused"):
            if run.workflow == Held.name:
                unblock_run(run.id)
            else:
                approve_run(run.id, actor="ada")
        run_until_idle(advance=True)
        # A day later a window of the cron trigger has come.
        clock.advance(seconds=24 * 3600)
        tick()
        run_until_idle(advance=True)
        return {run.workflow: run.status for run in list_runs()}

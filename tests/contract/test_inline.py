"""Going on inline leaves the same rows as one message per step.

The straight path, which PostgreSQL takes in one statement, is only taken
inline; here both ways are compared, step by step, while time stands still.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import fields

from flask_squidmesh import Retry, StepFailed, Workflow, approval, complete, log, manual, step, wait
from flask_squidmesh.current import state
from flask_squidmesh.testing import run_until_idle
from tests.contract.host import db, write

OUTCOMES = st.lists(st.sampled_from(["ok", "write", "fail", "retry"]), min_size=1, max_size=6)


def turn(script, turn=0):
    what = script[turn] if turn < len(script) else "stop"
    if what == "fail":
        raise StepFailed(f"turn {turn} fails")
    if what == "write":
        write(f"turn {turn}")
    return {"turn": turn + 1, "what": what}


def try_twice(context, what):
    if what == "retry" and context.attempt == 1:
        raise OSError("once")
    return {"tried": context.attempt}


def mend(context, turn=0):
    return {"turn": turn + 1, "mended": context.failure["message"]}


def leave_or_go_on(what):
    if what == "stop":
        raise StepFailed("enough")


class Shapes(Workflow):
    """Every way a transition workflow can go on: straight, in loops, over error routes."""

    go = manual(script=fields.List(fields.String(), required=True))

    work = step(turn)
    twice = step(try_twice, retry=Retry(2))
    note = log("once more")
    again = step(leave_or_go_on)
    repair = step(mend)
    rest = wait(seconds=5)
    review = approval(output="decision")
    last = step(lambda decision: {"answered": decision["decision"]})
    transitions = [
        work >> twice >> note >> again >> work,
        work.on_error(repair) >> work,
        again.on_error(rest) >> review >> last >> complete,
        review.on_error(complete),
    ]


def ignore(_news):
    pass


def told(run):
    """Return everything a run's history tells but ids and workers."""
    history = [
        (
            s.step,
            s.visit,
            s.status,
            s.outcome,
            s.input,
            s.output,
            [(a.number, a.status, a.error, a.started_at, a.finished_at) for a in s.attempts],
            s.created_at,
            s.finished_at,
        )
        for s in run.step_runs
    ]
    events = [(e.type, e.step, e.actor) for e in run.audit_events]
    return run.status, run.context, run.last_error, run.current_step, history, events


def run_inline(world, run_id, clock):
    """Do what a worker with time for the whole run does."""
    engine = state().engine()
    for first_step in ("work", "rest"):
        engine.deliver(run_id, first_step, may_continue=lambda: True, after_commit=ignore)
        clock.advance(seconds=5)
    world.squidmesh.approve_run(run_id, actor="somebody")
    engine.deliver(run_id, "last", may_continue=lambda: True, after_commit=ignore)


def run_step_by_step(world, run_id, clock):
    run_until_idle()
    clock.advance(seconds=5)
    run_until_idle()
    clock.advance(seconds=5)
    world.squidmesh.approve_run(run_id, actor="somebody")
    run_until_idle()


def forget_notes():
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM note"))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(script=OUTCOMES)
def test_inline_and_step_by_step_leave_the_same_history(world, clock, script):
    begun = clock.now
    by_steps = world.start(Shapes, {"script": script})
    run_step_by_step(world, by_steps, clock)
    forget_notes()
    clock._now = begun
    inline = world.start(Shapes, {"script": script})
    run_inline(world, inline, clock)
    forget_notes()
    assert told(world.see(inline)) == told(world.see(by_steps))


@pytest.mark.parametrize("boundary", ["go_on", "complete"])
def test_straight_statement_does_nothing_without_the_lease(world, clock, boundary):
    def lose(context):
        if context.attempt == 1:
            clock.advance(seconds=61)
            state().engine().expire()
        return {"attempt": context.attempt}

    class Overtaken(Workflow):
        go = manual()
        first = step(lose)
        second = step(lambda: None)
        transitions = [first >> second >> complete] if boundary == "go_on" else [first >> complete]
        if boundary == "complete":
            del second

    run_id = world.start(Overtaken)
    engine = state().engine()
    engine.deliver(run_id, "first", may_continue=lambda: True, after_commit=ignore)
    (first,) = world.see(run_id).step_runs
    assert [a.status for a in first.attempts] == ["abandoned"]
    assert (first.status, world.see(run_id).context) == ("retrying", {})
    engine.deliver(run_id, "first", may_continue=lambda: True, after_commit=ignore)
    assert world.see(run_id).status == "completed"
    assert world.see(run_id).context == {"attempt": 2}

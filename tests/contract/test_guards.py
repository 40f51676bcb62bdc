"""Moments in which one guard alone keeps a late attempt from doing harm.

`tests/guards.md` lists the guards. Where two of them would catch the same
zombie, these tests bring about the case that only one of them catches.
"""

from __future__ import annotations

import pytest

from flask_squidmesh import Retry, Workflow, complete, fixed, manual, step
from flask_squidmesh.testing import abandon, deliver, tick
from tests.contract.host import attempts, db, notes, step_state, write
from tests.contract.shapes import road


@pytest.mark.parametrize("last", [True, False])
def test_zombie_changes_nothing_while_its_successor_executes(world, clock, last):
    """The run and the branch are running, as they were for the zombie: only the token differs."""

    def work(context):
        if context.attempt > 1:
            abandon(context.run_id, context.step)
        clock.advance(seconds=60)
        tick()
        assert deliver(context.run_id, context.step) == "executed"
        write("zombie")
        db.session.flush()
        return {"by": "zombie"}

    steps = {"work": step(work)} if last else {"work": step(work), "after": step(lambda: None)}
    run_id = world.start(road("Flow", steps))
    deliver(run_id, "work")
    run = world.see(run_id)
    assert (run.status, run.context, notes()) == ("running", {}, [])
    assert attempts(run, "work") == [(1, "abandoned"), (2, "running")]


def test_zombie_without_writes_changes_nothing_while_its_successor_executes(world, clock):
    """The same where nothing but the completion itself is to be committed."""

    def work(context):
        if context.attempt > 1:
            abandon(context.run_id, context.step)
        clock.advance(seconds=60)
        tick()
        assert deliver(context.run_id, context.step) == "executed"
        return {"by": "zombie"}

    class Flow(Workflow):
        go = manual()
        work_on = step(work)
        transitions = [work_on >> complete]

    run_id = world.start(Flow)
    deliver(run_id, "work_on")
    run = world.see(run_id)
    assert (run.status, run.context) == ("running", {})
    assert attempts(run, "work_on") == [(1, "abandoned"), (2, "running")]


def test_zombie_changes_nothing_while_its_step_waits_for_the_retry_and_the_run_goes_on(
    world, clock
):
    """The token is still its own and the run is running: only the step run's status differs."""

    def work(context):
        clock.advance(seconds=60)
        tick()
        write("zombie")
        return {"by": "zombie"}

    class Two(Workflow):
        go = manual()
        one = step(work, retry=Retry(3, fixed(10)))
        two = step(lambda: None)
        join = step(lambda: None, after=[one, two])

    run_id = world.start(Two)
    deliver(run_id, "one")
    run = world.see(run_id)
    assert (run.status, run.context, notes()) == ("running", {}, [])
    assert step_state(run, "one").status == "retrying"
    assert attempts(run, "one") == [(1, "abandoned")]

"""Two things that must not both happen, or must both happen, meet at the same moment.

Each race is run many times. Which side is faster is left to chance; that the
outcome is one of those the contract allows is not.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from flask_squidmesh import InvalidTransition, Workflow, complete, manual, step
from flask_squidmesh.testing import deliver, freeze, tick
from tests.concurrency.racers import NOON
from tests.contract.host import attempts, db, notes, path, step_run, write
from tests.contract.shapes import make

TIMES = 60
WIDTH = 8


class Meeting:
    """Where two threads wait for each other; then each goes on as fast as it can."""

    def __init__(self, world) -> None:
        self.world = world
        self.barrier = threading.Barrier(2)

    def call(self, function, *arguments):
        """Call *function* once somebody else has come here, too."""
        self.barrier.wait(30)
        return function(*arguments)

    def together(self, *calls):
        """Call all at once, each in a thread and a context of its own; return their results."""

        def call_in_context(call):
            with self.world.app.app_context():
                return call()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(call_in_context, calls))


@pytest.fixture
def meeting(world):
    return Meeting(world)


@pytest.fixture
def flow(world, meeting):
    """A workflow whose step writes a note, and is met by somebody before it returns."""

    def work(context):
        write(f"{context.run_id}:{context.attempt}"[-50:])
        db.session.flush()
        if context.attempt == 1:
            meeting.barrier.wait(30)
        return {"attempt": context.attempt}

    class Met(Workflow):
        go = manual()
        work_on = step(work)
        after = step(lambda: None)
        transitions = [work_on >> after >> complete]

    world.squidmesh.register(Met)
    return Met


def cancel(world, run_id):
    """Return what cancelling led to, or the status that refused it."""
    try:
        return world.squidmesh.cancel_run(run_id).status
    except InvalidTransition as refused:
        return f"refused: {refused.current}"


def test_cancellation_meets_the_settlement_of_the_step(world, meeting, flow):
    seen: Counter[str] = Counter()
    for _ in range(TIMES):
        run_id = world.squidmesh.start_run(flow).id

        word, answer = meeting.together(
            partial(deliver, run_id, "work_on"), partial(meeting.call, cancel, world, run_id)
        )
        run = world.see(run_id)
        seen[answer] += 1
        assert (word, run.status) == ("executed", "cancelled")
        ended = step_run(run, "work_on")
        assert attempts(run, "work_on") == [(1, "completed")]
        if answer == "cancelling":
            # The cancellation was first: the result is recorded and leads nowhere.
            assert (ended.status, ended.outcome, path(run)) == ("completed", None, ["work_on"])
            assert run.context == {}
        else:
            # The settlement was first, and the next step had not begun.
            assert answer == "cancelled"
            assert (ended.outcome, path(run)) == ("ok", ["work_on", "after"])
            assert step_run(run, "after").status == "cancelled"
    assert sum(seen.values()) == TIMES
    assert len(notes()) == TIMES


def test_cancellation_meets_the_settlement_of_the_last_step(world, meeting):
    def work(context):
        meeting.barrier.wait(30)

    class Last(Workflow):
        go = manual()
        work_on = step(work)
        transitions = [work_on >> complete]

    world.squidmesh.register(Last)
    for _ in range(TIMES):
        run_id = world.squidmesh.start_run(Last).id

        _, answer = meeting.together(
            partial(deliver, run_id, "work_on"), partial(meeting.call, cancel, world, run_id)
        )
        expected = {"cancelling": "cancelled", "refused: completed": "completed"}
        assert world.see(run_id).status == expected[answer]


def test_cancellation_meets_the_claim(world):
    executed: list[str] = []

    class Plain(Workflow):
        go = manual()
        work_on = step(lambda context: executed.append(context.run_id))
        transitions = [work_on >> complete]

    world.squidmesh.register(Plain)
    meeting = Meeting(world)
    for _ in range(TIMES):
        run_id = world.squidmesh.start_run(Plain).id

        word, answer = meeting.together(
            partial(meeting.call, deliver, run_id, "work_on"),
            partial(meeting.call, cancel, world, run_id),
        )
        run = world.see(run_id)
        if answer == "cancelled":
            assert word in {"run_not_active", "finished"}
            assert (run.status, run_id in executed) == ("cancelled", False)
        else:
            assert answer in {"cancelling", "refused: completed"}
            assert (word, executed.count(run_id)) == ("executed", 1)
            assert run.status == ("cancelled" if answer == "cancelling" else "completed")


def test_end_of_the_lease_meets_the_settlement(world, meeting, flow):
    for _ in range(TIMES):
        with freeze(NOON) as clock:
            run_id = world.squidmesh.start_run(flow).id

            def expire(clock=clock):
                meeting.barrier.wait(30)
                clock.advance(seconds=60)
                return tick().expired

            word, expired = meeting.together(partial(deliver, run_id, "work_on"), expire)
            run = world.see(run_id)
            mine = [text for text in notes() if text.startswith(run_id)]
            if expired:
                # Taken over: what the attempt did is not kept, and a second one makes up for it.
                assert attempts(run, "work_on") == [(1, "abandoned")]
                assert (run.status, mine) == ("retrying", [])
                run = world.go(run_id)
                assert attempts(run, "work_on") == [(1, "abandoned"), (2, "completed")]
                mine = [text for text in notes() if text.startswith(run_id)]
            else:
                assert attempts(run, "work_on") == [(1, "completed")]
                run = world.go(run_id)
            assert word == "executed"
            assert (run.status, len(mine)) == ("completed", 1)


def test_heartbeat_meets_the_end_of_the_lease(world, meeting):
    def work(context):
        if context.attempt > 1:
            return {"kept": 2}
        meeting.barrier.wait(30)
        return {"kept": context.heartbeat()}

    class Beating(Workflow):
        go = manual()
        work_on = step(work)
        transitions = [work_on >> complete]

    world.squidmesh.register(Beating)
    for _ in range(TIMES):
        with freeze(NOON) as clock:
            run_id = world.squidmesh.start_run(Beating).id

            def expire(clock=clock):
                clock.advance(seconds=60)
                meeting.barrier.wait(30)
                return tick().expired

            _, expired = meeting.together(partial(deliver, run_id, "work_on"), expire)
            run = world.go(run_id)
            assert run.context == {"kept": 2 if expired else True}
            assert len(attempts(run, "work_on")) == 1 + expired


@pytest.mark.parametrize("joined", [True, False])
def test_branches_that_end_together_join_once(world, joined):
    """Also without a join: then it is the run's completion that counts down."""
    everybody = threading.Barrier(WIDTH)
    joins: list[str] = []

    def work(context):
        everybody.wait(30)
        return {context.step: True}

    names = [f"branch_{number}" for number in range(WIDTH)]
    body = {"root": step(lambda: None)}
    body.update({name: step(work, after=["root"]) for name in names})
    if joined:
        body["join"] = step(lambda context: joins.append(context.run_id), after=names)
    workflow = make("Fan", body)
    world.squidmesh.register(workflow)
    meeting = Meeting(world)
    for _ in range(5):
        run_id = world.squidmesh.start_run(workflow).id
        deliver(run_id, "root")
        calls = [partial(deliver, run_id, name) for name in names]
        assert meeting.together(*calls) == ["executed"] * WIDTH
        run = world.see(run_id)
        assert set(run.context) == set(names)
        if joined:
            assert (run.status, step_run(run, "join").status) == ("running", "pending")
            run = world.go(run_id)
            assert joins.count(run_id) == 1
        assert run.status == "completed"

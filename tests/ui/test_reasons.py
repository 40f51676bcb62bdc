"""Every run says why it does not move, what happens next, and when."""

from __future__ import annotations

from flask_squidmesh import (
    Retry,
    Workflow,
    approval,
    complete,
    fixed,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.testing import abandon, execute_next, freeze, run_until_idle
from tests.contract import host
from tests.http.host import Order, Parallel


class Reasons(Workflow):
    """Comes to every kind of step."""

    go = manual()
    nap = wait(seconds=120)
    try_it = step(lambda: 1 / 0, retry=Retry(2, fixed(300)))
    stop = pause()
    ask = approval()
    end = step(lambda: None)
    transitions = [
        nap >> try_it >> stop >> ask >> end >> complete,
        try_it.on_error(stop),
        ask.on_error(end),
    ]


def why(dashboard, run_id):
    page = dashboard.get(f"/runs/{run_id}")
    assert page.status == 200
    return (
        page.one("[data-reason]")["data-reason"],
        page.texts(".sq-why")[0],
        page.texts(".sq-next")[0],
    )


def test_each_state_says_why_it_does_not_move_and_what_happens_next(dashboard):
    dashboard.squidmesh.register(Reasons)
    with freeze() as clock:
        run_id = dashboard.squidmesh.start_run(Reasons).id
        reason, said, then = why(dashboard, run_id)
        assert reason == "pending_dispatch"
        assert said.startswith("nap is ready and waits for a worker to take it, since 20")
        assert "starts as soon as a worker is free" in then

        execute_next()
        run_until_idle()
        reason, said, then = why(dashboard, run_id)
        assert reason == "waiting_until"
        assert said.startswith("nap waits for its timer until 20")
        assert said.endswith("UTC (in 2 minutes).")
        assert then == "Then it goes on to try_it, then stop, where it waits for the next answer."

        clock.advance(seconds=121)
        run_until_idle()
        reason, said, then = why(dashboard, run_id)
        assert reason == "waiting_for_retry"
        assert said == "The last attempt of try_it failed with exception: division by zero"
        assert then.startswith("Attempt 2 begins by itself at 20")
        assert then.endswith("(in 5 minutes).")

        clock.advance(seconds=301)
        run_until_idle()
        reason, said, then = why(dashboard, run_id)
        assert reason == "paused_for_manual_action"
        assert said.startswith("The run is paused at stop until somebody lets it go on, since 20")
        assert then == "Then it stops at ask, for the next answer. Nothing happens by itself."

        dashboard.squidmesh.unblock_run(run_id, actor="bob")
        reason, said, then = why(dashboard, run_id)
        assert reason == "paused_for_approval"
        ways = "it goes on to end, and then completes"
        assert then == f"Approved, {ways}. Rejected, {ways}. Nothing happens by itself."

        dashboard.squidmesh.approve_run(run_id, actor="bob")
        run_until_idle()
        reason, said, then = why(dashboard, run_id)
        assert reason == "completed"
        assert said.startswith("Everything is done, since 20")
        assert said.endswith("it took 7 min 2 s.")


def test_a_step_that_executes_and_one_whose_worker_is_lost(dashboard):
    seen = {}

    def work(context):
        seen["running"] = why(dashboard, context.run_id)
        abandon(context.run_id, context.step)

    workflow = host.single(work)
    with freeze() as clock:
        run_id = dashboard.world.start(workflow)
        execute_next()
        clock.advance(seconds=100)
        lost = why(dashboard, run_id)
        overview = dashboard.get("/")
    reason, said, then = seen["running"]
    assert reason == "step_running"
    assert said.startswith("Attempt 1 of work is executing on worker ")
    assert then.startswith("If it succeeds, the run completes. If it fails, the run fails.")
    assert lost[0] == "worker_lost"
    assert "has been silent since its lease ran out" in lost[1]
    assert "is silent: its lease on work of single ran out" in overview.text("#trouble-lost-0")


def test_a_join_that_waits_says_for_what(dashboard):
    run_id = dashboard.squidmesh.start_run(Parallel).id
    execute_next()
    page = dashboard.get(f"/runs/{run_id}")
    said = page.texts(".sq-why")
    assert any(s.startswith("both waits for right (pending).") for s in said)
    assert len(said) == 2


def test_a_failed_and_a_cancelled_run_say_how_it_came(dashboard):
    failed = dashboard.failed_order()
    reason, said, then = why(dashboard, failed.id)
    assert (reason, said) == (
        "step_failed",
        "The run failed at put_back with sold_out: nothing in stock",
    )
    assert "It can be replayed" in then
    page = dashboard.get(f"/runs/{failed.id}")
    assert page.text("#errors tbody [data-label=Error]").startswith("sold_out nothing in stock")
    cancelled = dashboard.order()
    dashboard.squidmesh.cancel_run(cancelled.id, actor="bob")
    assert why(dashboard, cancelled.id)[1].startswith("bob cancelled the run; it ended at 20")


def test_a_run_without_its_code_says_so_and_offers_no_replay(dashboard):
    over = dashboard.failed_order()
    run_id = dashboard.squidmesh.start_run(Order, {"number": 1}).id
    registry = dashboard.world.app.extensions["squidmesh"].registry
    registry._shared._classes.pop(Order.name)
    assert why(dashboard, run_id)[0] == "definition_unavailable"
    assert "[data-offer=replay]" not in dashboard.get(f"/runs/{over.id}")
    assert dashboard.get("/workflows/order").status == 404


def test_visits_of_a_loop_are_told_apart(dashboard):
    class Loop(Workflow):
        go = manual()
        ask = approval()
        again = step(lambda: None)
        transitions = [ask >> complete, ask.on_error(again), again >> ask]

    dashboard.squidmesh.register(Loop)
    run = dashboard.go(dashboard.squidmesh.start_run(Loop).id)
    for actor in ("ann", "bob"):
        dashboard.squidmesh.reject_run(run.id, actor=actor)
        dashboard.go(run.id)
    for visit, actor in ((1, "ann"), (2, "bob")):
        assert (
            dashboard.get(f"/runs/{run.id}/decisions/ask/{visit}")
            .text("#answered")
            .startswith(actor)
        )
    assert "#question-form" in dashboard.get(f"/runs/{run.id}/decisions/ask/3")
    page = dashboard.get(f"/runs/{run.id}/steps/ask")
    assert "visit 3" in page.text("#step-status")
    assert page.texts("nav[aria-label=Visits] a") == ["1", "2", "3"]
    assert "completed" in dashboard.get(f"/runs/{run.id}/steps/ask?visit=1").text("#step-status")
    assert dashboard.get(f"/runs/{run.id}/steps/ask?visit=4").status == 404

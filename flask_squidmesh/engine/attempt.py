"""The loop behind one message: claim, perform, settle, and on with the next step.

A test can stop between the three; so can a process, and `due_at` then brings
the ticker to the row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from flask_squidmesh.engine import step_log
from flask_squidmesh.engine.claim import take
from flask_squidmesh.engine.keep import keep_context
from flask_squidmesh.engine.news import News
from flask_squidmesh.engine.perform import perform
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.settle import settle


def deliver(
    runtime: Runtime,
    run_id: str,
    step: str,
    *,
    may_continue: Callable[[], bool],
    after_commit: Callable[[News], None],
    is_ending: Callable[[], bool] = lambda: False,
    other_runs: bool = False,
    then: deque[str] | None = None,
) -> str:
    """Do what a message about *step* of the run asks for, and return the word for it.

    *may_continue* is asked before each settlement whether the worker goes on
    with the next step; *after_commit* gets the news of each commit; *is_ending*
    says whether a `SystemExit` comes from the worker, not from the step.

    With *other_runs* it goes on with runs that wait and that it knows of, too,
    when the one it was called for is over.

    *then* are steps of a dependency workflow to go on with afterwards, one
    after the other, whatever *may_continue* says. Those that were claimed are
    removed from it; with the first that can not be, all of it ends.
    """
    following = deque[str]() if then is None else then
    taking = take(runtime, run_id, step)
    held = taking.held
    runtime.backlog.heed(taking.word, None if held is None else held.branch)
    after_commit(taking.news)
    while held is not None:
        # A fresh app context is a fresh host session: nothing leaks from step to step.
        with runtime.step_context(), runtime.executing.during(held):
            with step_log.during(held):
                performed = perform(runtime, held, is_ending=is_ending)
            wish = following[0] if following else None
            go_on = may_continue()
            settled = settle(
                runtime,
                held,
                performed,
                go_on=go_on,
                other_runs=go_on and other_runs,
                then=wish,
            )
        after_commit(settled.news)
        if settled.held is None:
            keep_context(runtime, held, settled.news)
        elif settled.held.run.id != held.run.id:
            runtime.backlog.heed("executed", settled.held.branch)
        held = settled.held
        if held is not None and held.branch.step == wish:
            following.popleft()
    return taking.word

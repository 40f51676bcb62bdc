"""Helpers for the tests of applications: work is done here and now, time moves when told.

They work inside an app context, with `SQUIDMESH_DISPATCH="manual"` so that
nothing is sent, on any database. No thread and no broker takes part: a test
calls, and when the call returns the work is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice, takewhile
from typing import Final, NoReturn

from flask_squidmesh.clock import Clock, FrozenClock
from flask_squidmesh.current import state
from flask_squidmesh.dispatch.doorbell import doorbell_of
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.engine.perform import WorkerGone
from flask_squidmesh.types import StepRun, TickResult

__all__ = [
    "abandon",
    "broker_down",
    "deliver",
    "execute_next",
    "freeze",
    "run_until_idle",
    "tick",
]

_PAGE: Final = 1_000


def run_until_idle(*, advance: bool = False, limit: int = 10_000) -> int:
    """Execute everything that is ready, in the order it became ready; return how many attempts.

    With *advance* also move the clock to the next timer, retry or end of a
    lease, until nothing but pauses is left; it never waits for cron. A clock
    that is not frozen stands still for the duration of the call.

    Example::

        run = squidmesh.start_run("order", {"order": "A-1"})
        assert run_until_idle(advance=True) == 3
        assert squidmesh.inspect_run(run.id).status == "completed"

    Raises:
        RuntimeError: More than *limit* attempts were executed.
    """
    clock = state().clock
    if not advance:
        return _work_off(limit)
    if isinstance(clock, FrozenClock):
        return _work_off_in_time(clock, limit)
    with freeze() as frozen:
        return _work_off_in_time(frozen, limit)


def _work_off_in_time(clock: FrozenClock, limit: int) -> int:
    executed = _work_off(limit)
    engine = state().engine()
    while (moment := engine.next_moment()) is not None:
        clock.advance(seconds=max((moment - clock.now).total_seconds(), 0.0))
        engine.expire()
        executed_now = _work_off(limit - executed)
        executed += executed_now
        if not executed_now and engine.next_moment() == moment:
            # Ready, but nobody here can execute it: its code is not registered.
            break
    return executed


def _work_off(limit: int) -> int:
    executed = 0
    stuck: set[Ring] = set()
    # What becomes ready meanwhile comes after what is ready now, so a whole page is worked off.
    while page := [ring for ring in _ready(_PAGE + len(stuck)) if ring not in stuck]:
        ready = deque(page)
        while ready:
            ring = ready.popleft()
            following = _siblings(ring, ready, at_most=limit - executed)
            expected = len(following)
            word, attempts = _execute(ring, following)
            for _ in range(expected - len(following)):
                ready.popleft()
            executed += attempts
            if word != "executed":
                stuck.add(ring)
            if executed > limit:
                raise RuntimeError(
                    f"more than {limit} attempts were executed and there is still work: look for "
                    "a loop without a way out, or pass a larger limit"
                )
    return executed


def _ready(limit: int) -> list[Ring]:
    """Return up to *limit* ready steps, in the order they became ready."""
    return state().engine().list_ready(limit=limit)


def _siblings(ring: Ring, ready: Iterable[Ring], *, at_most: int) -> deque[str]:
    """Return the steps that come next and belong to the same run, so that it goes on with them."""
    same_run = takewhile(lambda other: other.run_id == ring.run_id, ready)
    return deque(other.step for other in islice(same_run, max(at_most, 0)))


def execute_next() -> StepRun | None:
    """Claim and execute exactly one ready step; return its step run, None if nothing is ready.

    The run does not go on inline: its next step is ready afterwards, and waits.
    """
    stuck: set[Ring] = set()
    # Larger by as many as are known to stay ready.
    while ready := [ring for ring in _ready(1 + len(stuck)) if ring not in stuck]:
        for ring in ready:
            before = _step_runs(ring)
            word, _ = _execute(ring)
            if word == "executed":
                return _step_runs(ring)[len(before) - 1]
            stuck.add(ring)
    return None


def _step_runs(ring: Ring) -> list[StepRun]:
    run = state().engine().inspect_run(ring.run_id, include_history=True)
    return [step_run for step_run in run.step_runs or () if step_run.step == ring.step]


def _execute(ring: Ring, then: deque[str] | None = None) -> tuple[str, int]:
    """Execute one step, and those in *then*; return the engine's word and the number of attempts.

    What was claimed besides the one step is removed from *then*.
    """
    here = state()
    engine = here.engine()
    performed = engine.performed
    try:
        word = engine.deliver(
            ring.run_id,
            ring.step,
            may_continue=lambda: False,
            after_commit=here.announce,
            then=then,
        )
    except WorkerGone:
        word = "executed"
    return word, engine.performed - performed


def deliver(run_id: str, step: str) -> str:
    """Do what a Celery message for that step would do, whatever the state of the run.

    Returns `"executed"`, or the reason for doing nothing: `"already_running"`,
    `"not_ready"`, `"not_due"`, `"finished"`, `"run_not_active"`, `"unknown"`.
    """
    return _execute(Ring(run_id, step))[0]


def tick() -> TickResult:
    """Do one round of the ticker: ring what is due, end expired leases, start cron runs.

    Rung steps are not executed by this; `run_until_idle` does that.
    """
    here = state()
    result, news = here.engine().tick()
    here.announce(news)
    return result


@contextmanager
def freeze(at: datetime | None = None) -> Iterator[FrozenClock]:
    """Let time stand still for this application, at *at* (aware) or at the present moment.

    `clock.now` is the time, `clock.advance(seconds=...)` moves it. Leases,
    timers, retries, cron and timestamps follow it. At the end of the block the
    application follows the time it followed before.

    Example::

        with freeze(datetime(2026, 11, 2, 9, tzinfo=UTC)) as clock:
            run = squidmesh.start_run("reminder")
            clock.advance(seconds=3600)
            run_until_idle()

    Raises:
        ValueError: *at* is not aware.
    """
    here = state()
    usual: Clock = here.clock
    clock = FrozenClock(usual.now if at is None else at)
    here.use_clock(clock)
    try:
        yield clock
    finally:
        here.use_clock(usual)


def abandon(run_id: str, step: str) -> NoReturn:
    """Be killed at this very line; called by the step function itself.

    Nothing of the attempt is recorded, uncommitted writes are lost, and the
    lease is left to expire. Does not return; the helper that executed the step
    goes on. Let it happen in the first attempt only (`context.attempt == 1`),
    else the step loses every worker it gets.
    """
    raise WorkerGone(f"step {step} of run {run_id} was abandoned")


@contextmanager
def broker_down() -> Iterator[None]:
    """Let every publication fail as with an unreachable broker, within the block.

    For applications with `SQUIDMESH_DISPATCH="celery"`; nothing is waited for.
    """
    with doorbell_of(state().app).unreachable():
        yield

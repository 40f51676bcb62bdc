"""Where all semantics live: what follows from an outcome.

`decide` is pure. It is told facts that hold under the run's lock and answers
with effects; the engine carries them out in the same transaction. Neighbours:
`states` has the legal moves, `facts` the questions, `effects` the answers.

Invariants, held by property tests: every effect is a legal move; nothing is
entered once the run is over or being cancelled; a branch is moved, held or
left exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_squidmesh.definition.spec import COMPLETE, StepSpec
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.backoff import delay_after
from flask_squidmesh.lifecycle.facts import (
    ENDED,
    Error,
    Facts,
    Failed,
    Lost,
    Outcome,
    Resolved,
    Succeeded,
    Taken,
    with_step,
)
from flask_squidmesh.lifecycle.states import (
    RUN,
    AttemptEvent,
    RunEvent,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
)

EXECUTABLE = ("step", "log")
"""The kinds a worker executes when they are ready; the others hold still first."""


class Refused(Exception):
    """The run's status does not allow this outcome; nothing may be changed."""


def decide(facts: Facts, outcome: Outcome) -> tuple[do.Effect, ...]:
    """Return the effects of *outcome*, in the order to carry them out.

    Raises `Refused` for a question the run's status does not allow.
    """
    match outcome:
        case Taken():
            return tuple(_take(facts))
        case Succeeded():
            return tuple(_finish(facts, AttemptEvent.SUCCEED, "ok", None))
        case Failed(error, delay):
            return tuple(_fail(facts, error, AttemptEvent.FAIL, delay))
        case Lost(error):
            return tuple(_fail(facts, error, AttemptEvent.ABANDON, None))
        case Resolved():
            return tuple(_resolve(facts, outcome))


def _take(facts: Facts) -> Iterator[do.Effect]:
    spec = facts.definition.steps_by_name[facts.step]
    if facts.status == StepRunStatus.PENDING and spec.kind == "wait":
        yield do.Delay(spec.seconds or 0.0)
        yield from _activate(facts)
    elif facts.status == StepRunStatus.PENDING and spec.kind not in EXECUTABLE:
        yield do.Suspend()
        yield from _activate(facts)
        yield do.MoveRun(RunEvent.PAUSE)
        yield do.Audit("paused", facts.step)
    else:
        yield do.Claim()
        yield from _activate(facts)


def _activate(facts: Facts) -> Iterator[do.Effect]:
    if facts.run == RunStatus.PENDING:
        yield do.MoveRun(RunEvent.START)
    elif facts.run == RunStatus.RETRYING:
        yield do.MoveRun(RunEvent.RESUME)
    elif facts.run != RunStatus.RUNNING:
        raise Refused(facts.run)


def _fail(
    facts: Facts, error: Error, event: AttemptEvent, delay: float | None
) -> Iterator[do.Effect]:
    if facts.run != RunStatus.RUNNING or not _has_attempts_left(facts, error, event):
        yield from _finish(facts, event, "error", error)
        return
    retry = facts.definition.steps_by_name[facts.step].retry
    seconds = delay_after(facts.attempt, retry, chance=facts.chance) if delay is None else delay
    if seconds <= 0 and event == AttemptEvent.FAIL and facts.step in facts.inline:
        yield do.Again()
        yield do.EndAttempt(event, error)
        return
    yield do.Retry(max(seconds, 0.0), lost=event == AttemptEvent.ABANDON)
    yield do.EndAttempt(event, error)
    if facts.others != "active":
        yield do.MoveRun(RunEvent.RETRY, with_step(error, facts.step))


def _has_attempts_left(facts: Facts, error: Error, event: AttemptEvent) -> bool:
    spec = facts.definition.steps_by_name[facts.step]
    if event == AttemptEvent.ABANDON:
        if spec.at_most_once:
            return False
        if spec.retry is None:
            return facts.lost < facts.limits.max_lost_attempts
    elif not error["retryable"]:
        return False
    return spec.retry is not None and facts.attempt < spec.retry.max_attempts


def _finish(facts: Facts, event: AttemptEvent, on: Any, error: Error | None) -> Iterator[do.Effect]:
    """End the step run and go where its outcome leads."""
    ended = StepRunEvent.COMPLETE if event == AttemptEvent.SUCCEED else StepRunEvent.FAIL
    if facts.run != RunStatus.RUNNING:
        if facts.run != RunStatus.CANCELLING and facts.run not in ENDED:
            raise Refused(facts.run)
        if event == AttemptEvent.ABANDON:
            ended = StepRunEvent.CANCEL
        yield do.Leave()
        yield do.EndAttempt(event, error)
        yield do.EndStep(ended, None)
        if facts.run == RunStatus.CANCELLING and facts.others == "none":
            yield do.MoveRun(RunEvent.CANCEL)
        return
    ending = do.EndAttempt(event, error)
    if facts.definition.mode == "dependency" and on == "ok":
        yield from _release(facts, ending)
        return
    goes_to = facts.definition.routes.get((facts.step, on))
    if goes_to is None:
        yield do.Leave()
        yield ending
        yield do.EndStep(ended, None)
        if facts.definition.mode == "dependency":
            yield do.CancelIdle()
        yield do.MoveRun(RunEvent.FAIL, with_step(error or {}, facts.step))
        return
    yield from _follow(facts, goes_to, ending, do.EndStep(ended, on))


def _resolve(facts: Facts, outcome: Resolved) -> Iterator[do.Effect]:
    if facts.run != RunStatus.PAUSED:
        raise Refused(facts.run)
    goes_to = facts.definition.routes[(facts.step, outcome.on)]
    between: list[do.Effect] = [do.Audit(outcome.answer, facts.step)]
    if goes_to != COMPLETE:
        between.append(do.MoveRun(RunEvent.RESUME))
    yield from _follow(
        facts,
        goes_to,
        do.EndAttempt(AttemptEvent.SUCCEED),
        do.EndStep(StepRunEvent.COMPLETE, outcome.on),
        *between,
    )


def _follow(facts: Facts, goes_to: str, *ending: do.Effect) -> Iterator[do.Effect]:
    """Take a transition: the branch moves, *ending* is recorded, the run may change."""
    if goes_to == COMPLETE:
        yield do.Leave()
        yield from ending
        yield do.MoveRun(RunEvent.COMPLETE)
        return
    spec = facts.definition.steps_by_name[goes_to]
    # A step that leads to itself is entered, though not ended, and may not be counted yet.
    entered = facts.visit if goes_to == facts.step else 0
    visit = max(facts.visits.get(goes_to, 0), entered) + 1
    if visit > facts.limits.max_step_visits:
        yield do.Leave()
        yield from ending
        yield do.MoveRun(RunEvent.FAIL, _too_many_visits(goes_to, facts.limits.max_step_visits))
        return
    status = _entry_status(spec, inline=goes_to in facts.inline)
    yield do.Move(goes_to, visit, status, spec.seconds or 0.0)
    yield from ending
    if status == "paused":
        yield do.MoveRun(RunEvent.PAUSE)
        yield do.Audit("paused", goes_to)


def _release(facts: Facts, ending: do.EndAttempt) -> Iterator[do.Effect]:
    """Count down what waited for this step, and start what became ready."""
    definition = facts.definition
    waiting = definition.dependents[facts.step] or (COMPLETE,)
    needs = {name: len(_needs(facts, name)) for name in waiting}
    ready = [n for n in waiting if n != COMPLETE and (needs[n] == 1 or facts.missing[n] == 1)]
    over = COMPLETE in waiting and (needs[COMPLETE] == 1 or facts.missing[COMPLETE] == 1)
    # What this worker goes on with takes over its branch; the rest get their own.
    ready.sort(key=lambda name: name not in facts.inline)
    goes_on = ready[0] if ready and ready[0] in facts.inline else None
    if goes_on is not None:
        yield do.Move(goes_on, 1, "running")
    else:
        yield do.Leave()
    for name in ready:
        if name != goes_on:
            spec = definition.steps_by_name[name]
            status = _entry_status(spec, inline=False)
            yield do.Fork(name, definition.slot(name), status, spec.seconds or 0.0)
    yield ending
    yield do.EndStep(StepRunEvent.COMPLETE, "ok")
    for name in waiting:
        if needs[name] > 1:
            yield do.CountDown(name)
    if over:
        yield do.MoveRun(RunEvent.COMPLETE)
    elif not ready and facts.others == "retrying":
        yield do.MoveRun(RunEvent.RETRY)


def _needs(facts: Facts, name: str) -> tuple[str, ...]:
    if name == COMPLETE:
        return facts.definition.sinks
    return facts.definition.steps_by_name[name].depends_on


def _entry_status(spec: StepSpec, *, inline: bool) -> do.EntryStatus:
    if spec.kind == "wait":
        return "waiting"
    if spec.kind in EXECUTABLE:
        return "running" if inline else "pending"
    return "paused"


def cancel(run: RunStatus, *, executing: bool, step: str | None) -> tuple[do.Effect, ...]:
    """Return the effects of ending a run that stands at *step*, on a person's request.

    While a step function is *executing* the run only begins to be cancelled.
    Raises `Refused` for a run that is over or being cancelled already.
    """
    event = RunEvent.REQUEST_CANCEL if executing else RunEvent.CANCEL
    if (run, event) not in RUN or run == RunStatus.CANCELLING:
        raise Refused(run)
    return (do.CancelIdle(), do.MoveRun(event), do.Audit("cancelled", step))


def _too_many_visits(step: str, limit: int) -> Error:
    return {
        "code": "too_many_visits",
        "message": f"step {step!r} was entered {limit} times, the most SQUIDMESH_MAX_STEP_VISITS "
        "allows; check the loop's way out, or raise the limit",
        "type": None,
        "details": {"visits": limit},
        "retryable": False,
        "step": step,
    }

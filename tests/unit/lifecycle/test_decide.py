"""`decide`, case by case: which effects follow, in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_squidmesh.definition.spec import (
    COMPLETE,
    BackoffSpec,
    Definition,
    RetrySpec,
    StepSpec,
    TransitionSpec,
)
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.decide import Refused, cancel, decide
from flask_squidmesh.lifecycle.facts import (
    ENDED,
    Facts,
    Failed,
    Limits,
    Lost,
    Resolved,
    Succeeded,
    Taken,
)
from flask_squidmesh.lifecycle.states import (
    AttemptEvent,
    RunEvent,
    RunStatus,
    StepRunEvent,
    StepRunStatus,
)
from tests.strategies import TRIGGERS

ERROR = {"code": "exception", "message": "down", "type": None, "details": None, "retryable": True}
FINAL = {**ERROR, "retryable": False}
EVERYTHING = frozenset({"first", "second", "a", "b", "join"})
SUCCEED = do.EndAttempt(AttemptEvent.SUCCEED)
FAIL = do.EndAttempt(AttemptEvent.FAIL, ERROR)
DONE = do.EndStep(StepRunEvent.COMPLETE, "ok")


def flow(first, second=None, error_to=None):
    """Return the facts of a run that executes *first* of `first >> second >> complete`."""
    steps = [first, second or StepSpec("second", "step")]
    routes = [TransitionSpec("first", "ok", "second"), TransitionSpec("second", "ok", COMPLETE)]
    if error_to is not None:
        routes.append(TransitionSpec("first", "error", error_to))
    definition = Definition(
        "flow", None, "transition", TRIGGERS, tuple(steps), tuple(routes), ("first",)
    )
    return Facts(
        definition=definition,
        limits=Limits(max_step_visits=10, max_lost_attempts=3),
        run=RunStatus.RUNNING,
        step="first",
        visit=1,
        status=StepRunStatus.RUNNING,
        attempt=1,
        visits={"first": 1},
    )


@pytest.fixture
def facts():
    return flow(StepSpec("first", "step"))


@pytest.fixture
def retried():
    return flow(StepSpec("first", "step", retry=RetrySpec(3, BackoffSpec("fixed", 5, 5))))


# A worker looks at a ready branch.


@pytest.mark.parametrize(
    ("kind", "on_branch", "more"),
    [
        ("step", do.Claim(), ()),
        ("log", do.Claim(), ()),
        ("wait", do.Delay(7), ()),
        ("pause", do.Suspend(), (do.MoveRun(RunEvent.PAUSE), do.Audit("paused", "first"))),
        ("approval", do.Suspend(), (do.MoveRun(RunEvent.PAUSE), do.Audit("paused", "first"))),
    ],
)
def test_first_step_starts_the_run_whatever_its_kind(kind, on_branch, more):
    spec = StepSpec("first", kind, seconds=7 if kind == "wait" else None)
    facts = replace(flow(spec), run=RunStatus.PENDING, status=StepRunStatus.PENDING)
    assert decide(facts, Taken()) == (on_branch, do.MoveRun(RunEvent.START), *more)


def test_retry_that_is_taken_resumes_the_run(retried):
    facts = replace(retried, run=RunStatus.RETRYING, status=StepRunStatus.RETRYING)
    assert decide(facts, Taken()) == (do.Claim(), do.MoveRun(RunEvent.RESUME))


def test_taking_a_step_of_a_running_run_leaves_the_run_alone(facts):
    assert decide(replace(facts, status=StepRunStatus.PENDING), Taken()) == (do.Claim(),)


@pytest.mark.parametrize("run", [RunStatus.PAUSED, RunStatus.CANCELLING, *sorted(ENDED)])
def test_no_step_is_taken_of_a_run_that_does_not_run(facts, run):
    with pytest.raises(Refused):
        decide(replace(facts, run=run, status=StepRunStatus.PENDING), Taken())


# A step ends.


def test_success_moves_the_branch_first_and_records_then(facts):
    assert decide(facts, Succeeded()) == (do.Move("second", 1, "pending"), SUCCEED, DONE)


def test_next_step_is_entered_running_when_the_worker_can_go_on(facts):
    move, *_ = decide(replace(facts, inline=EVERYTHING), Succeeded())
    assert move == do.Move("second", 1, "running")


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (StepSpec("second", "log"), do.Move("second", 1, "running")),
        (StepSpec("second", "wait", seconds=9), do.Move("second", 1, "waiting", 9)),
        (StepSpec("second", "pause"), do.Move("second", 1, "paused")),
        (StepSpec("second", "approval"), do.Move("second", 1, "paused")),
    ],
)
def test_kind_of_the_next_step_decides_how_it_is_entered(second, expected):
    facts = replace(flow(StepSpec("first", "step"), second), inline=EVERYTHING)
    move, *rest = decide(facts, Succeeded())
    assert move == expected
    pausing = [do.MoveRun(RunEvent.PAUSE), do.Audit("paused", "second")]
    assert rest[2:] == (pausing if expected.status == "paused" else [])


def test_last_success_completes_the_run(facts):
    facts = replace(facts, step="second")
    assert decide(facts, Succeeded()) == (
        do.Leave(),
        SUCCEED,
        DONE,
        do.MoveRun(RunEvent.COMPLETE),
    )


def test_failure_without_a_route_fails_the_run_with_the_name_of_the_step(facts):
    assert decide(facts, Failed(ERROR)) == (
        do.Leave(),
        FAIL,
        do.EndStep(StepRunEvent.FAIL, None),
        do.MoveRun(RunEvent.FAIL, {**ERROR, "step": "first"}),
    )


def test_failure_with_a_route_takes_it():
    facts = flow(StepSpec("first", "step"), error_to="second")
    assert decide(facts, Failed(ERROR)) == (
        do.Move("second", 1, "pending"),
        FAIL,
        do.EndStep(StepRunEvent.FAIL, "error"),
    )


@pytest.mark.parametrize("counted", [{}, {"first": 1}])
def test_step_that_leads_to_itself_is_another_visit(counted):
    facts = replace(flow(StepSpec("first", "step"), error_to="first"), visits=counted)
    assert decide(facts, Failed(ERROR))[0] == do.Move("first", 2, "pending")


def test_visit_beyond_the_limit_fails_the_run(facts):
    full = replace(facts, visits={"second": 10})
    leave, ended, done, failed = decide(full, Succeeded())
    assert (leave, ended, done) == (do.Leave(), SUCCEED, DONE)
    assert isinstance(failed, do.MoveRun)
    assert failed.error is not None
    assert (failed.event, failed.error["code"]) == (RunEvent.FAIL, "too_many_visits")
    assert (failed.error["step"], failed.error["retryable"]) == ("second", False)


def test_last_allowed_visit_is_entered(facts):
    entering = decide(replace(facts, visits={"second": 9}), Succeeded())[0]
    assert entering == do.Move("second", 10, "pending")


# Retries.


def test_retry_waits_and_the_run_with_it(retried):
    assert decide(retried, Failed(ERROR)) == (
        do.Retry(5),
        FAIL,
        do.MoveRun(RunEvent.RETRY, {**ERROR, "step": "first"}),
    )


def test_retry_at_once_by_the_same_worker_gives_nothing_up():
    facts = replace(flow(StepSpec("first", "step", retry=RetrySpec(2))), inline=EVERYTHING)
    assert decide(facts, Failed(ERROR)) == (do.Again(), FAIL)


@pytest.mark.parametrize(("delay", "seconds"), [(None, 5), (0.5, 0.5), (60, 60), (-1, 0)])
def test_delay_of_the_failure_overrides_the_backoff(retried, delay, seconds):
    assert decide(retried, Failed(ERROR, delay))[0] == do.Retry(seconds)


@pytest.mark.parametrize("attempt", [3, 4])
def test_no_retry_is_left_after_max_attempts(retried, attempt):
    assert decide(replace(retried, attempt=attempt), Failed(ERROR))[0] == do.Leave()


def test_failure_that_is_not_retryable_is_final(retried):
    assert decide(retried, Failed(FINAL))[0] == do.Leave()


def test_run_keeps_running_while_other_branches_do(retried):
    effects = decide(replace(retried, others="active"), Failed(ERROR))
    assert effects == (do.Retry(5), FAIL)


# Lost workers.


@pytest.mark.parametrize(("lost", "again"), [(0, True), (2, True), (3, False), (4, False)])
def test_step_without_a_policy_is_tried_again_up_to_the_limit(facts, lost, again):
    first = decide(replace(facts, lost=lost), Lost(ERROR))[0]
    assert first == (do.Retry(0, lost=True) if again else do.Leave())


def test_lost_attempt_counts_under_a_policy_whatever_the_limit_of_losses(retried):
    assert decide(replace(retried, lost=99), Lost(ERROR))[0] == do.Retry(5, lost=True)
    assert decide(replace(retried, attempt=3), Lost(ERROR))[0] == do.Leave()


def test_step_that_runs_at_most_once_is_never_tried_again():
    spec = StepSpec("first", "step", retry=RetrySpec(5), at_most_once=True)
    assert decide(flow(spec), Lost(ERROR))[0] == do.Leave()


def test_step_that_runs_at_most_once_is_still_retried_after_a_failure():
    spec = StepSpec("first", "step", retry=RetrySpec(5), at_most_once=True)
    assert decide(flow(spec), Failed(ERROR))[0] == do.Retry(0)


# Cancellation.


@pytest.mark.parametrize(
    ("outcome", "ended", "step_event"),
    [
        (Succeeded(), SUCCEED, StepRunEvent.COMPLETE),
        (Failed(ERROR), FAIL, StepRunEvent.FAIL),
        (Lost(ERROR), do.EndAttempt(AttemptEvent.ABANDON, ERROR), StepRunEvent.CANCEL),
    ],
)
def test_end_of_the_step_ends_the_cancellation_and_leads_nowhere(
    retried, outcome, ended, step_event
):
    effects = decide(replace(retried, run=RunStatus.CANCELLING), outcome)
    assert effects == (
        do.Leave(),
        ended,
        do.EndStep(step_event, None),
        do.MoveRun(RunEvent.CANCEL),
    )


def test_cancellation_waits_for_other_branches(facts):
    effects = decide(replace(facts, run=RunStatus.CANCELLING, others="active"), Succeeded())
    assert effects == (do.Leave(), SUCCEED, do.EndStep(StepRunEvent.COMPLETE, None))


@pytest.mark.parametrize("run", sorted(ENDED))
def test_end_of_a_step_after_the_end_of_its_run_is_recorded_only(facts, run):
    effects = decide(replace(facts, run=run), Succeeded())
    assert effects == (do.Leave(), SUCCEED, do.EndStep(StepRunEvent.COMPLETE, None))


@pytest.mark.parametrize("run", [RunStatus.PENDING, RunStatus.PAUSED, RunStatus.RETRYING])
@pytest.mark.parametrize("outcome", [Succeeded(), Failed(ERROR), Lost(ERROR)])
def test_no_attempt_ends_in_a_run_in_which_none_can_execute(retried, run, outcome):
    with pytest.raises(Refused):
        decide(replace(retried, run=run), outcome)


@pytest.mark.parametrize("run", [RunStatus.PENDING, RunStatus.PAUSED, RunStatus.RUNNING])
def test_run_in_which_nothing_executes_is_cancelled_at_once(run):
    assert cancel(run, executing=False, step="first") == (
        do.CancelIdle(),
        do.MoveRun(RunEvent.CANCEL),
        do.Audit("cancelled", "first"),
    )


@pytest.mark.parametrize("run", [RunStatus.RUNNING, RunStatus.RETRYING])
def test_executing_step_makes_it_a_request(run):
    assert cancel(run, executing=True, step=None)[1] == do.MoveRun(RunEvent.REQUEST_CANCEL)


@pytest.mark.parametrize("run", [RunStatus.CANCELLING, *sorted(ENDED)])
@pytest.mark.parametrize("executing", [False, True])
def test_run_that_is_over_or_being_cancelled_is_not_cancelled(run, executing):
    with pytest.raises(Refused):
        cancel(run, executing=executing, step=None)


# People.


def test_answer_resumes_the_run_and_moves_on():
    facts = flow(StepSpec("first", "approval"), error_to=COMPLETE)
    facts = replace(facts, run=RunStatus.PAUSED, status=StepRunStatus.PAUSED)
    assert decide(facts, Resolved("approved")) == (
        do.Move("second", 1, "pending"),
        SUCCEED,
        DONE,
        do.Audit("approved", "first"),
        do.MoveRun(RunEvent.RESUME),
    )
    assert decide(facts, Resolved("rejected")) == (
        do.Leave(),
        SUCCEED,
        do.EndStep(StepRunEvent.COMPLETE, "error"),
        do.Audit("rejected", "first"),
        do.MoveRun(RunEvent.COMPLETE),
    )


@pytest.mark.parametrize("run", [run for run in RunStatus if run != RunStatus.PAUSED])
def test_only_a_paused_run_takes_an_answer(facts, run):
    with pytest.raises(Refused):
        decide(replace(facts, run=run), Resolved("resumed"))


# Dependencies.


def graph():
    """Return the facts of a run that executes `a` of `a, b -> join`, with `b` open."""
    steps = (
        StepSpec("a", "step"),
        StepSpec("b", "step"),
        StepSpec("join", "step", depends_on=("a", "b")),
        StepSpec("extra", "step", depends_on=("a",)),
    )
    definition = Definition("flow", None, "dependency", TRIGGERS, steps, (), ("a", "b"))
    return Facts(
        definition=definition,
        limits=Limits(max_step_visits=10, max_lost_attempts=3),
        run=RunStatus.RUNNING,
        step="a",
        visit=1,
        status=StepRunStatus.RUNNING,
        attempt=1,
        others="active",
        missing={"join": 2, COMPLETE: 2},
    )


def fork(name):
    return do.Fork(name, graph().definition.slot(name), "pending")


def test_join_that_misses_more_is_counted_down_and_not_entered():
    effects = decide(graph(), Succeeded())
    assert effects == (do.Leave(), fork("extra"), SUCCEED, DONE, do.CountDown("join"))


def test_join_that_misses_this_one_only_is_entered():
    effects = decide(replace(graph(), missing={"join": 1}), Succeeded())
    ending = (SUCCEED, DONE, do.CountDown("join"))
    assert effects == (do.Leave(), fork("join"), fork("extra"), *ending)


def test_worker_goes_on_with_what_it_can_execute_itself():
    facts = replace(graph(), missing={"join": 1}, inline=frozenset({"extra"}))
    assert decide(facts, Succeeded())[:2] == (do.Move("extra", 1, "running"), fork("join"))


def test_run_completes_with_the_last_of_the_ends():
    facts = replace(graph(), step="extra", missing={COMPLETE: 1}, others="none")
    assert decide(facts, Succeeded()) == (
        do.Leave(),
        SUCCEED,
        DONE,
        do.CountDown(COMPLETE),
        do.MoveRun(RunEvent.COMPLETE),
    )


def test_run_is_retrying_once_only_retries_are_left():
    facts = replace(graph(), step="extra", others="retrying")
    assert decide(facts, Succeeded())[-1] == do.MoveRun(RunEvent.RETRY)


def test_terminal_failure_cancels_what_does_not_execute_and_fails_the_run():
    assert decide(graph(), Failed(ERROR)) == (
        do.Leave(),
        FAIL,
        do.EndStep(StepRunEvent.FAIL, None),
        do.CancelIdle(),
        do.MoveRun(RunEvent.FAIL, {**ERROR, "step": "a"}),
    )

"""The timeline tells queue, wait and execution apart, and accounts for all of the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.types import Attempt, Run, StepRun
from flask_squidmesh.ui.timeline import EXECUTING, QUEUED, WAITING, bars

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def attempt(number, start, end):
    finished = None if end is None else at(end)
    return Attempt(number, "completed", None, "worker", at(start), finished)


def step_run(created, finished, attempts, kind="step"):
    end = None if finished is None else at(finished)
    status = "running" if end is None else "completed"
    return StepRun("s", kind, 1, status, None, {}, None, attempts, None, at(created), end)


def a_run(*step_runs):
    return Run(
        "id", "w", None, "go", "running", {}, {}, None, None, None, START, START, None, (),
        step_runs, (),
    )  # fmt: skip


def split(bar):
    return {kind: bar.seconds(kind) for kind in (QUEUED, WAITING, EXECUTING)}


def test_retries_are_executions_with_waits_between():
    (bar,) = bars(a_run(step_run(0, 10, (attempt(1, 1, 3), attempt(2, 7, 10)))), now=at(99))
    assert split(bar) == {QUEUED: 1, EXECUTING: 5, WAITING: 4}


def test_what_is_under_way_lasts_until_now():
    queued, executing, retrying, held = bars(
        a_run(
            step_run(0, None, ()),
            step_run(0, None, (attempt(1, 2, None),)),
            step_run(0, None, (attempt(1, 2, 5),)),
            step_run(0, None, (attempt(1, 0, None),), kind="approval"),
        ),
        now=at(20),
    )
    assert split(queued) == {QUEUED: 20, EXECUTING: 0, WAITING: 0}
    assert split(executing) == {QUEUED: 2, EXECUTING: 18, WAITING: 0}
    assert split(retrying) == {QUEUED: 2, EXECUTING: 3, WAITING: 15}
    assert split(held) == {QUEUED: 0, EXECUTING: 0, WAITING: 20}


def test_shortest_execution_is_visible_and_stays_inside():
    first, last = bars(
        a_run(
            step_run(0, 0.001, (attempt(1, 0, 0.001),)),
            step_run(99.9999, 100, (attempt(1, 99.9999, 100),)),
        ),
        now=at(100),
    )
    assert 'width="3.0"' in first.picture
    assert 'x="997.0"' in last.picture


@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=12),
    st.sampled_from(["step", "wait", "approval"]),
    st.booleans(),
)
def test_all_of_the_time_is_accounted_for(times, kind, is_over):
    times = sorted(round(t, 3) for t in times)
    tries = tuple(attempt(n // 2, times[n], times[n + 1]) for n in range(0, len(times) - 1, 2))
    end = times[-1] if is_over else None
    (bar,) = bars(a_run(step_run(times[0], end, tries, kind)), now=at(times[-1]))
    if is_over and tries and kind == "step":
        end = (tries[-1].finished_at - START).total_seconds()
    total = (end if end is not None else times[-1]) - times[0]
    assert abs(sum(segment.seconds for segment in bar.segments) - total) < 1e-3

"""Workers that are told to end: what is under way ends first, the rest is somebody else's."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.host import notes
from tests.hostile.worker_app import Plain, Quick, Writing, squidmesh
from tests.hostile.workers import Crew, history, see, wait_for_end
from tests.support.process import Processes

LEASE = 60
SHORT_LEASE = 2
Hire = Callable[[float], Crew]


@pytest.fixture
def hire(
    processes: Processes, postgres_database_url: str, broker_url: str, tmp_path: Path
) -> Iterator[Hire]:
    """Return a crew whose leases last so long; the context of its application is open."""
    opened = []

    def make(lease: float) -> Crew:
        marks = tmp_path / "marks"
        marks.mkdir()
        crew = Crew(
            processes,
            marks,
            {
                "DATABASE_URL": postgres_database_url,
                "BROKER_URL": broker_url,
                "SQUIDMESH_LEASE_TTL": str(lease),
            },
        )
        opened.append(crew.open())
        opened[-1].__enter__()
        return crew

    yield make
    for context in opened:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_sigterm_finishes_the_step_and_hands_the_rest_over(hire: Hire, pool: str):
    crew = hire(LEASE)
    leaving = crew.start_worker("--pool", pool)
    run_id = squidmesh.start_run(Writing).id
    crew.wait_for("first-begun-1")
    staying = crew.start_worker("--pool", pool)
    crew.let("second")
    leaving.send(signal.SIGTERM)
    leaving.wait_for_log("Warm shutdown")
    assert see(run_id).current_step == "first"

    crew.let("first")
    began = time.monotonic()
    run = wait_for_end(run_id)
    took = time.monotonic() - began
    print(f"{pool}: handed over and completed {took:.2f} s after the step could end")

    assert leaving.wait_for_end() == 0
    assert history(run) == {"first": [(1, "completed")], "second": [(1, "completed")]}
    # The rest went over as a message. Whose it is to take is the broker's to say: until its
    # consumer has stopped, that may be the leaving worker once more.
    received = re.findall(r"Task squidmesh\.run_step\S+ received", leaving.log + staying.log)
    assert len(received) >= 2
    assert notes() == ["first after", "first before"]
    # Nobody waited for a lease to run out, nor for a message to be sent again.
    assert took < 8


def ended_at_once(worker):
    worker.send(signal.SIGQUIT)


def ended_as_a_group(worker):
    """As systemd does by default, GNU `timeout`, and many a shell."""
    os.killpg(worker.pid, signal.SIGTERM)


def ended_twice(worker):
    worker.send(signal.SIGTERM)
    worker.wait_for_log("Warm shutdown")
    worker.send(signal.SIGQUIT)


@pytest.mark.parametrize("end", [ended_at_once, ended_as_a_group, ended_twice])
def test_step_that_is_cut_short_has_not_failed_and_is_taken_over(hire: Hire, end):
    """The child gets a `SystemExit` in the middle of the step, which is not the step's."""
    crew = hire(SHORT_LEASE)
    leaving = crew.start_worker()
    run_id = squidmesh.start_run(Writing).id
    crew.wait_for("first-begun-1")
    end(leaving)
    leaving.wait_for_end()
    crew.let("first", "second")
    crew.start_worker()
    run = wait_for_end(run_id)
    assert run.status == "completed"
    assert history(run) == {
        "first": [(1, "abandoned"), (2, "completed")],
        "second": [(1, "completed")],
    }
    assert not crew.has("first-ended-1")
    assert notes() == ["first after", "first before"]


def test_rolling_deploy_interrupts_no_step(hire: Hire):
    """Workers are replaced one after the other while runs go on: nothing is done twice."""
    crew = hire(LEASE)
    run_ids = []
    crew.let("first", "second")
    working = [crew.start_worker(concurrency=2), crew.start_worker(concurrency=2)]
    for _ in range(3):
        run_ids += [squidmesh.start_run(Quick).id for _ in range(20)]
        run_ids += [squidmesh.start_run(Plain).id for _ in range(5)]
        leaving = working.pop(0)
        working.append(crew.start_worker(concurrency=2))
        assert leaving.terminate() == 0
    for run_id in run_ids:
        run = wait_for_end(run_id)
        assert run.status == "completed"
        tried = [attempt for attempts in history(run).values() for attempt in attempts]
        assert set(tried) == {(1, "completed")}

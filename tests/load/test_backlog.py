"""A backlog of runs takes a queue as long as it has workers, and is worked off all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from flask_squidmesh.dispatch.enough import ENOUGH
from tests.hostile.worker_app import Quick, squidmesh
from tests.hostile.workers import Crew, open_crew, wait_for_end
from tests.support.process import Processes
from tests.support.valkey import Broker

RUNS = 20 * ENOUGH


@pytest.fixture
def crew(
    processes: Processes, postgres_database_url: str, broker: Broker, tmp_path: Path
) -> Iterator[Crew]:
    environment = {"DATABASE_URL": postgres_database_url, "BROKER_URL": broker.url}
    with open_crew(processes, tmp_path, environment) as opened:
        yield opened


def test_runs_without_a_message_are_executed_with_the_others(crew: Crew, broker: Broker):
    run_ids = [squidmesh.start_run(Quick).id for _ in range(RUNS)]
    with redis.Redis.from_url(broker.url) as client:
        messages = client.llen("squidmesh")
    assert ENOUGH <= messages < RUNS / 2
    for _ in range(2):
        crew.start_worker()
    ended = [wait_for_end(run_id) for run_id in run_ids]
    assert {run.status for run in ended} == {"completed"}
    assert all(len(run.step_runs[0].attempts) == 1 for run in ended if run.step_runs)

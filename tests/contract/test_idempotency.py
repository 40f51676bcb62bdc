"""Idempotency keys: the first run is returned, under concurrency too."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from marshmallow import fields

from flask_squidmesh import IdempotencyConflict, Workflow, complete, manual, step
from tests.contract.callers import Charge
from tests.contract.host import db, make_world, prepare


class Refund(Workflow):
    go = manual(account_id=fields.String(required=True))
    other = manual(account_id=fields.String(required=True))
    work = step(lambda: None)
    transitions = [work >> complete]


@pytest.fixture
def squidmesh(world):
    world.squidmesh.register(Charge)
    world.squidmesh.register(Refund)
    return world.squidmesh


def test_same_key_returns_the_first_run(world, squidmesh):
    first = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    assert squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k") == first
    assert world.count_runs() == 1


def test_same_key_returns_the_run_as_it_stands_now(world, squidmesh):
    first = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    world.go(first.id)
    again = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    assert (again.id, again.status) == (first.id, "completed")


def test_keys_are_per_workflow(world, squidmesh):
    one = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    two = squidmesh.start_run(Refund, {"account_id": "A1"}, idempotency_key="k")
    assert one.id != two.id


def test_runs_without_a_key_are_never_the_same(world, squidmesh):
    for _ in range(2):
        squidmesh.start_run(Charge, {"account_id": "A1"})
    assert world.count_runs() == 2


def test_same_key_with_another_payload_is_a_conflict(world, squidmesh):
    first = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    with pytest.raises(IdempotencyConflict) as refused:
        squidmesh.start_run(Charge, {"account_id": "A2"}, idempotency_key="k")
    assert (refused.value.workflow, refused.value.key) == ("charge", "k")
    assert refused.value.run_id == first.id
    assert world.count_runs() == 1


def test_same_key_with_another_trigger_is_a_conflict(squidmesh):
    squidmesh.start_run(Refund, {"account_id": "A1"}, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        squidmesh.start_run(Refund, {"account_id": "A1"}, trigger="other", idempotency_key="k")


def test_naming_the_default_trigger_is_the_same_request(squidmesh):
    first = squidmesh.start_run(Refund, {"account_id": "A1"}, idempotency_key="k")
    again = squidmesh.start_run(Refund, {"account_id": "A1"}, trigger="go", idempotency_key="k")
    assert again.id == first.id


def test_payloads_are_compared_as_given_before_defaults(squidmesh):
    first = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    # The default is another one each time, and yet it is the same request.
    assert first.payload["token"] is not None
    again = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    assert again.payload == first.payload
    with pytest.raises(IdempotencyConflict):
        squidmesh.start_run(
            Charge, {"account_id": "A1", "token": first.payload["token"]}, idempotency_key="k"
        )


def test_order_of_keys_makes_no_other_payload(squidmesh):
    first = squidmesh.start_run(Charge, {"account_id": "A", "token": 1}, idempotency_key="k")
    again = squidmesh.start_run(Charge, {"token": 1, "account_id": "A"}, idempotency_key="k")
    assert again.id == first.id


@pytest.mark.parametrize("key", ["", "x" * 256, 5, "a\0b"])
def test_key_that_cannot_be_kept_is_refused(world, squidmesh, key):
    with pytest.raises(ValueError, match="idempotency key"):
        squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key=key)
    assert world.count_runs() == 0


def test_key_in_a_session_returns_the_first_run_and_leaves_the_session_usable(world, squidmesh):
    first = squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k")
    again = squidmesh.start_run(
        Charge, {"account_id": "A1"}, idempotency_key="k", session=db.session
    )
    db.session.commit()
    assert (again.id, world.count_runs()) == (first.id, 1)


def test_key_of_a_rolled_back_transaction_is_free_again(world, squidmesh):
    squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k", session=db.session)
    db.session.rollback()
    squidmesh.start_run(Charge, {"account_id": "A2"}, idempotency_key="k")
    assert world.count_runs() == 1


def test_threads_with_one_key_get_one_run(world, squidmesh):
    barrier = threading.Barrier(8)

    def start(_):
        with world.app.app_context():
            barrier.wait()
            return squidmesh.start_run(Charge, {"account_id": "A1"}, idempotency_key="k").id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(start, range(8)))
    assert (len(ids), world.count_runs()) == (1, 1)


def test_processes_with_one_key_get_one_run(postgres_databases, process, tmp_path):
    url = postgres_databases.create(prepare)
    go = tmp_path / "go"
    started = [
        process(sys.executable, "-m", "tests.contract.callers", "start", url, str(go), ready="up")
        for _ in range(2)
    ]
    go.touch()
    for each in started:
        assert each.wait_for_end() == 0
    answers = [
        json.loads(line) for each in started for line in each.log.splitlines() if "{" in line
    ]
    assert len(answers) == 40
    with make_world(url) as world:
        runs = world.squidmesh.list_runs(limit=500)
        assert {answer["run_id"] for answer in answers} == {run.id for run in runs}
        assert len(runs) == 5

"""Messages nobody of ours has sent: they do nothing, and the worker goes on."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from flask_squidmesh.current import state
from flask_squidmesh.dispatch.line import RUN_STEP
from flask_squidmesh.ids import new_id
from flask_squidmesh.testing import deliver
from tests.hostile.worker_app import Plain, Quick, squidmesh
from tests.hostile.workers import Crew, history, open_crew, see, wait_for_end
from tests.support.process import Processes

QUEUE = "squidmesh"


@pytest.fixture
def crew(
    processes: Processes, postgres_database_url: str, broker_url: str, tmp_path: Path
) -> Iterator[Crew]:
    environment = {"DATABASE_URL": postgres_database_url, "BROKER_URL": broker_url}
    with open_crew(processes, tmp_path, environment) as opened:
        yield opened


@pytest.fixture
def sender(broker_url: str) -> Iterator[Celery]:
    with Celery("stranger", broker=broker_url, set_as_current=False) as celery:
        yield celery


def envelope(body: bytes, **properties: Any) -> str:
    """Return what stands in the list of a Redis queue for a message of Celery's."""
    headers = {"task": RUN_STEP, "id": new_id(), "lang": "py", **properties.pop("headers", {})}
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "correlation_id": headers["id"],
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": new_id(),
            },
            **properties,
        }
    )


HARM = "squidmesh-was-here"


class Bomb:
    """Leaves a file where the worker runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(HARM),))


BODIES = {
    "no JSON": envelope(b"\x00\xff"),
    "not the shape of a task": envelope(b'{"a": 1}'),
    "a list of nothing": envelope(b"[]"),
    "a number": envelope(b"5"),
    "nothing": envelope(b"null"),
    "a text": envelope(b'"args"'),
    "older protocol": envelope(b'{"args": 5, "kwargs": []}'),
    "older protocol, in part": envelope(b'{"args": []}'),
    "no lists of arguments": envelope(b'["run", 5, {}]'),
    "arguments of ours, as text": envelope(b'["[1, 2]", {}, {}]'),
    "deep": envelope(b"[" * 100_000),
    "unknown task": envelope(b"[[], {}, {}]", headers={"task": "os.system"}),
    "no task": envelope(b"[[], {}, {}]", headers={"task": None}),
    "unknown content type": envelope(b"[[], {}, {}]", **{"content-type": "application/x-python"}),
    "pickle": envelope(
        pickle.dumps(([Bomb()], {}, {})), **{"content-type": "application/x-python-serialize"}
    ),
    "due in a thousand years": envelope(
        json.dumps([[new_id(), "one"], {}, {}]).encode(),
        headers={"eta": "3026-01-01T00:00:00+00:00"},
    ),
    "expired": envelope(
        json.dumps([[new_id(), "one"], {}, {}]).encode(),
        headers={"expires": "2006-01-01T00:00:00+00:00"},
    ),
    "with callbacks": envelope(
        json.dumps(
            [[new_id(), "one"], {}, {"callbacks": [{"task": RUN_STEP}], "errbacks": "x"}]
        ).encode()
    ),
}


def test_worker_survives_every_forged_message(
    crew: Crew, broker_url: str, request: pytest.FixtureRequest
):
    worker = crew.start_worker()
    before = wait_for_end(squidmesh.start_run(Quick).id)
    with redis.Redis.from_url(broker_url) as client:
        for body in BODIES.values():
            client.lpush(QUEUE, body)
    after = [wait_for_end(squidmesh.start_run(Quick).id) for _ in range(3)]
    assert before.status == "completed"
    assert {run.status for run in after} == {"completed"}
    assert worker.is_running()
    assert worker.terminate() == 0
    assert not (request.config.rootpath / HARM).exists()


def test_bytes_that_are_no_message_end_the_process_and_lose_nothing(crew: Crew, broker_url: str):
    """The broker's client can not tell what they are; it has taken them out when it gives up."""
    first = crew.start_worker()
    before = wait_for_end(squidmesh.start_run(Quick).id)
    with redis.Redis.from_url(broker_url) as client:
        client.lpush(QUEUE, b"\xff\xfe\x00")
    assert first.wait_for_end() != 0
    waiting = squidmesh.start_run(Quick).id
    second = crew.start_worker()
    after = wait_for_end(waiting)
    assert {before.status, after.status} == {"completed"}
    assert second.is_running()


def test_enormous_messages_do_nothing(crew: Crew, sender: Celery):
    worker = crew.start_worker()
    huge = "x" * 20_000_000
    for args in ([huge, huge], [new_id(), huge], [[huge], {"a": huge}], list(range(100_000))):
        sender.send_task(RUN_STEP, args, queue=QUEUE, ignore_result=True)
    run = wait_for_end(squidmesh.start_run(Quick).id)
    assert run.status == "completed"
    assert worker.is_running()
    assert len(worker.log) < 1_000_000


def test_ids_of_other_runs_and_steps_do_nothing(crew: Crew, sender: Celery):
    """Neither what is over, nor what executes, nor what has not begun."""
    crew.start_worker(concurrency=2)
    over = wait_for_end(squidmesh.start_run(Quick).id)
    under_way = squidmesh.start_run(Plain).id
    crew.wait_for("first-begun-1")
    for run_id, name in (
        (over.id, "one"),
        (over.id, "three"),
        (over.id, "first"),
        (under_way, "first"),
        (under_way, "second"),
        (under_way, "three"),
        (new_id(), "first"),
        (under_way.upper(), "first"),
        (f"{{{under_way}}}", "first"),
    ):
        for _ in range(5):
            sender.send_task(RUN_STEP, [run_id, name], queue=QUEUE, ignore_result=True)
    last = wait_for_end(squidmesh.start_run(Quick).id)
    assert last.status == "completed"
    assert see(over.id) == over
    assert see(under_way).current_step == "first"
    crew.let("first", "second")
    run = wait_for_end(under_way)
    assert history(run) == {"first": [(1, "completed")], "second": [(1, "completed")]}


@pytest.mark.parametrize(
    ("run_id", "step"),
    [
        (new_id(), "one"),
        ("", "one"),
        ("\x00", "one"),
        (5, "one"),
        (None, None),
        (new_id(), None),
        (new_id(), "\x00"),
        (new_id(), "\ud800"),
        (new_id(), "x" * 1_000_000),
        ({"a": 1}, ["one"]),
    ],
    ids=range(10),
)
def test_whatever_a_message_names_is_unknown(crew: Crew, run_id, step):
    assert deliver(run_id, step) == "unknown"


def test_step_names_are_compared_and_nothing_else(crew: Crew):
    run_id = squidmesh.start_run(Quick).id
    for name in ("", "\x00", "\ud800", "one\x00", "ONE", "one ", "x" * 100_000):
        assert deliver(run_id, name) == "unknown"
    assert deliver(run_id, "two") == "not_ready"
    assert state().engine().inspect_run(run_id).status == "pending"

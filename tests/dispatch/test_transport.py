"""Publishing takes two seconds at most, never raises, and recovers by itself."""

from __future__ import annotations

import base64
import gc
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from celery import Celery

from flask_squidmesh.clock import Clock, wait_until
from flask_squidmesh.dispatch.line import Line
from flask_squidmesh.dispatch.transport import COOLDOWN, TOGETHER, Transport
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.ids import new_id
from tests.dispatch.doubles import SteppedClock

QUEUE = "squidmesh"
LONG_FUSE = {
    "broker_connection_timeout": 30,
    "broker_connection_retry": True,
    "broker_connection_max_retries": None,
    "task_publish_retry": True,
    "task_publish_retry_policy": {"max_retries": 100, "interval_start": 5},
    "broker_transport_options": {
        "socket_timeout": 60,
        "socket_connect_timeout": 60,
        "retry_on_timeout": True,
        "max_retries": 50,
        "interval_start": 10,
        "read_timeout": 60,
        "write_timeout": 60,
    },
}


def celery_with(url, **conf):
    celery = Celery("tests", set_as_current=False)
    celery.conf.update(broker_url=url, **conf)
    return celery


@pytest.fixture
def make_transport():
    made = []

    def make(url, *, clock=None, **conf):
        transport = Transport(celery_with(url, **conf), QUEUE, clock=clock or Clock())
        made.append(transport)
        return transport

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def refusing_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    return address[1]


@contextmanager
def accepting(*, answer: bytes = b"") -> Iterator[int]:
    """A server that accepts connections, says *answer* at most, and then nothing."""
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            if answer:
                connection.sendall(answer)
            accepted.append(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in accepted:
        connection.close()


@pytest.fixture
def silent_port():
    with accepting() as port:
        yield port


def rings(count=1):
    return [Ring(new_id(), "load") for _ in range(count)]


@pytest.fixture(autouse=True)
def no_collection_meanwhile():
    """What thousands of tests have left may take a second to be looked through: no wait of ours."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def timed(call):
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


@pytest.mark.parametrize("conf", [{}, LONG_FUSE], ids=["default", "long fuse"])
@pytest.mark.parametrize("count", [1, 500])
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_publishing_is_bounded_when_the_broker_refuses(
    make_transport, refusing_port, scheme, count, conf
):
    transport = make_transport(f"{scheme}://127.0.0.1:{refusing_port}//0", **conf)
    sent, seconds = timed(lambda: transport.publish(rings(count)))
    assert sent == 0
    assert seconds < 1


@pytest.mark.parametrize("conf", [{}, LONG_FUSE], ids=["default", "long fuse"])
@pytest.mark.parametrize("count", [1, 500])
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_publishing_is_bounded_when_the_broker_is_silent(
    make_transport, silent_port, scheme, count, conf
):
    transport = make_transport(f"{scheme}://127.0.0.1:{silent_port}//0", **conf)
    sent, seconds = timed(lambda: transport.publish(rings(count)))
    assert sent == 0
    assert seconds < 1.9


def test_publishing_is_bounded_when_a_transport_ignores_the_options(make_transport, silent_port):
    url = f"sentinel://127.0.0.1:{silent_port}/0"
    transport = make_transport(url, broker_transport_options={"master_name": "main"})
    sent, seconds = timed(lambda: transport.publish(rings()))
    assert sent == 0
    assert seconds < 1.9


def test_depth_is_bounded_and_unknown_when_the_broker_is_silent(make_transport, silent_port):
    transport = make_transport(f"redis://127.0.0.1:{silent_port}/0")
    depth, seconds = timed(transport.depth)
    assert depth is None
    assert seconds < 1.9


def test_many_threads_wait_no_longer_than_one(make_transport, silent_port):
    transport = make_transport(f"redis://127.0.0.1:{silent_port}/0")
    waited = []
    threads = [
        threading.Thread(target=lambda: waited.append(timed(lambda: transport.publish(rings()))))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waited) == 10
    assert max(seconds for _, seconds in waited) < 1.9


@pytest.mark.parametrize("url", ["nonsense://", "redis://127.0.0.1:0/0", "sqla+sqlite:////no/x"])
def test_broken_configuration_is_a_failure_like_any_other(make_transport, url):
    assert make_transport(url).publish(rings()) == 0


def test_open_breaker_skips_at_once_and_says_so_once(make_transport, refusing_port, caplog):
    clock = SteppedClock()
    transport = make_transport(f"redis://127.0.0.1:{refusing_port}/0", clock=clock)
    with caplog.at_level(logging.INFO, "flask_squidmesh"):
        transport.publish(rings())
        _, seconds = timed(lambda: [transport.publish(rings()) for _ in range(100)])
        clock.advance(COOLDOWN)
        transport.publish(rings())
    assert seconds < 0.1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "check broker_url" in caplog.text


def test_breaker_closes_when_the_broker_is_back(make_transport, broker, caplog):
    clock = SteppedClock()
    transport = make_transport(broker.url, clock=clock)
    broker.stop()
    assert transport.publish(rings()) == 0
    broker.start()
    assert transport.publish(rings()) == 0
    caplog.clear()
    with caplog.at_level(logging.INFO, "flask_squidmesh"):
        clock.advance(COOLDOWN)
        assert transport.publish(rings()) == 1
        assert transport.publish(rings(3)) == 3
    assert [record.message for record in caplog.records] == [
        "the broker is back; messages are sent again"
    ]
    assert transport.depth() == 4


def test_restarted_broker_gets_the_next_message(make_transport, broker):
    transport = make_transport(broker.url)
    assert transport.publish(rings()) == 1
    broker.stop()
    broker.start()
    assert transport.publish(rings()) == 1
    assert transport.depth() == 1


def test_depth_counts_messages_and_a_missing_queue_has_none(make_transport, broker_url):
    transport = make_transport(broker_url)
    assert transport.depth() == 0
    transport.publish(rings(5))
    assert transport.depth() == 5
    with redis.Redis.from_url(broker_url) as client:
        client.flushdb()
    assert transport.depth() == 0
    assert transport.publish(rings(2)) == 2
    assert transport.depth() == 2


def test_message_carries_ids_only(make_transport, broker_url):
    ring = Ring(new_id(), "load")
    transport = make_transport(broker_url, task_serializer="pickle")
    transport.publish([ring])
    with celery_with(broker_url).connection_for_read() as connection:
        message = connection.SimpleQueue(QUEUE).get(timeout=5)
        message.ack()
    assert message.payload == [
        [ring.run_id, "load"],
        {},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]
    assert message.content_type == "application/json"
    headers = {key: message.headers[key] for key in ("task", "eta", "expires", "ignore_result")}
    assert headers == {
        "task": "squidmesh.run_step",
        "eta": None,
        "expires": None,
        "ignore_result": True,
    }


@pytest.mark.parametrize(
    "conf",
    [
        {"task_create_missing_queues": False},
        {"task_always_eager": True},
        {"task_routes": {"*": {"queue": "elsewhere"}}},
        {"task_send_sent_event": True},
        {"task_default_exchange_type": "topic"},
    ],
    ids=lambda conf: next(iter(conf)),
)
def test_configuration_of_the_host_does_not_keep_messages_away(make_transport, broker_url, conf):
    transport = make_transport(broker_url, **conf)
    assert transport.publish(rings(2)) == 2
    assert transport.depth() == 2


def test_connections_do_not_grow(make_transport, broker_url):
    with redis.Redis.from_url(broker_url) as client:

        def connections():
            return len(client.client_list())

        before = connections()
        transport = make_transport(broker_url)
        transport.publish(rings())
        transport.depth()
        once = connections()
        threads = [
            threading.Thread(
                target=lambda: [(transport.publish(rings()), transport.depth()) for _ in range(10)]
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert connections() == once
        assert transport.depth() == 81
        transport.close()
        assert wait_until(lambda: connections() == before, timeout=5)


def test_forgotten_transport_ends_its_thread():
    def threads():
        return [t for t in threading.enumerate() if t.name == "squidmesh-transport"]

    before = len(threads())
    transport = Transport(celery_with("memory://"), new_id(), clock=Clock())
    transport.publish(rings())
    assert len(threads()) == before + 1
    del transport
    gc.collect()
    assert wait_until(lambda: len(threads()) == before, timeout=5)


def test_rings_of_a_round_go_out_together(make_transport, broker_url):
    transport, client = make_transport(broker_url), redis.Redis.from_url(broker_url)

    def reads():
        return client.info("stats")["total_reads_processed"]

    assert transport.publish(rings()) == 1
    wanted = rings(4 * TOGETHER)
    before = reads()
    assert transport.publish(wanted) == len(wanted)
    # Asking for it is one more. A group is a few packets, of which the server may read each.
    assert reads() - before <= len(wanted) / 4
    found = [json.loads(message) for message in client.lrange(QUEUE, 0, -1)]
    sent = [json.loads(base64.b64decode(message["body"]))[0] for message in reversed(found)]
    assert sent[1:] == [[ring.run_id, ring.step] for ring in wanted]


def test_group_that_was_cut_is_sent_again(broker_url):
    line = CutLine(celery_with(broker_url), QUEUE)
    line.send(rings())
    line.cut = True
    line.send(rings(TOGETHER))
    assert line.depth() == 1 + TOGETHER
    line.close()


def test_more_rings_than_there_is_time_for_are_left_to_the_ticker(broker_url, caplog):
    transport = Transport(celery_with(broker_url), QUEUE, clock=Clock(), patience=0.4)
    transport.publish(rings())
    with caplog.at_level(logging.INFO, "flask_squidmesh"):
        sent = transport.publish(rings(100_000))
    assert 0 < sent < 100_000
    assert "left to the ticker" in caplog.text
    assert transport.depth() == sent + 1
    transport.close()


def test_unreachable_broker_can_be_pretended(make_transport, broker_url):
    transport = make_transport(broker_url)
    assert transport.publish(rings()) == 1
    with transport.unreachable():
        assert transport.publish(rings()) == 0
        assert transport.depth() is None
    assert transport.publish(rings()) == 1
    assert transport.depth() == 2


class CutLine(Line):
    """A line whose next publication fails, once."""

    cut = False

    def _send_task(self, ring, *, declares):
        if self.cut:
            self.cut = False
            raise ConnectionResetError("cut while idle")
        super()._send_task(ring, declares=declares)


def test_cut_connection_is_opened_again_for_the_same_ring(broker_url):
    line = CutLine(celery_with(broker_url), QUEUE)
    line.send(rings())
    line.cut = True
    line.send(rings())
    assert line.depth() == 2
    line.close()


def test_fresh_connection_that_fails_is_not_tried_twice(broker_url):
    line = CutLine(celery_with(broker_url), QUEUE)
    line.cut = True
    with pytest.raises(ConnectionResetError):
        line.send(rings())
    line.send(rings())
    assert line.depth() == 1
    line.close()


def test_caller_does_not_wait_behind_one_that_gave_up(make_transport, silent_port):
    clock = SteppedClock()
    url = f"sentinel://127.0.0.1:{silent_port}/0"
    options = {"master_name": "main"}
    transport = make_transport(url, clock=clock, broker_transport_options=options)
    assert transport.publish(rings()) == 0
    clock.advance(COOLDOWN)
    sent, seconds = timed(lambda: transport.publish(rings()))
    assert sent == 0
    assert seconds < 0.1


FORKS = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # it is a thread of ours that forks do not copy
import redis
from celery import Celery
from flask import Flask
from flask_squidmesh import dispatch
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.ids import new_id
from tests.dispatch.doubles import make_app
celery = Celery(set_as_current=False, broker=sys.argv[1])
app = make_app(celery)
doorbell = dispatch.doorbell_of(app)
client = redis.Redis.from_url(sys.argv[1])
addresses = lambda: {c["addr"] for c in client.client_list()}
doorbell.ring([Ring(new_id(), "parent")])
used_by_parent = addresses()
child = os.fork()
if child == 0:
    doorbell.ring([Ring(new_id(), "child")])
    ok = doorbell.depth() == 2 and len(addresses() - used_by_parent) > 1
    sys.exit(0 if ok else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert used_by_parent - {"x"} <= addresses() | used_by_parent
doorbell.ring([Ring(new_id(), "parent")])
assert doorbell.depth() == 3, doorbell.depth()
print("fine")
"""


def test_child_of_a_fork_sends_through_a_connection_of_its_own(broker_url, pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", FORKS, broker_url],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr

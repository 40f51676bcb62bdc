"""The broker is only the doorbell: without it nothing is refused and nothing is lost."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from urllib.parse import urlsplit

import pytest
from minimal_host_app.gateway import Gateway

from tests.acceptance.host import Host
from tests.support.process import Processes
from tests.support.valkey import Broker


def timed(call: Callable[[], str]) -> tuple[str, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def silence_at(url: str) -> AbstractContextManager[object]:
    """Accept connections where the broker was, and never say a word."""
    return socket.create_server(("127.0.0.1", urlsplit(url).port or 0))


@pytest.mark.parametrize("broken", ["refuses connections", "never answers"])
def test_work_accepted_without_a_broker_is_done_when_it_is_back(
    processes: Processes, billing_url: str, broker: Broker, gateway: Gateway, broken: str
):
    host = Host(processes, database_url=billing_url, broker_url=broker.url, gateway_url=gateway.url)
    host.start_worker()
    client = host.start_web()
    before, usual = timed(lambda: client.recover("grace"))
    assert client.wait_for(before)["status"] == "completed"

    broker.stop()
    with silence_at(broker.url) if broken == "never answers" else nullcontext():
        run_id, without = timed(lambda: client.recover("ada"))
        assert client.run(run_id)["status"] == "pending"
    broker.start()
    back = time.monotonic()
    run = client.wait_for(run_id, timeout=60)
    print(
        f"start_run took {usual:.3f} s, with a broker that {broken} {without:.3f} s; "
        f"completed {time.monotonic() - back:.1f} s after the broker was back"
    )

    assert run["status"] == "completed"
    assert without <= usual + 2

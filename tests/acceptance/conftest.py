"""The example application on PostgreSQL and Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from minimal_host_app.gateway import Gateway

from tests.acceptance.host import Host, prepare
from tests.support.databases import Databases
from tests.support.process import Processes


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(failures=1) as running:
        yield running


@pytest.fixture
def billing_url(postgres_databases: Databases) -> Iterator[str]:
    """The application's database, migrated and seeded."""
    url = postgres_databases.create(prepare)
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def host(processes: Processes, billing_url: str, broker_url: str, gateway: Gateway) -> Host:
    return Host(processes, database_url=billing_url, broker_url=broker_url, gateway_url=gateway.url)

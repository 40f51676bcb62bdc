"""One database per module and kind, emptied before each test; a new application per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_squidmesh.clock import FrozenClock
from flask_squidmesh.testing import freeze
from tests.contract import host
from tests.contract.host import World
from tests.support.databases import Databases

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shared_url(databases: Databases) -> Iterator[str]:
    """A database with all tables, for all tests of a module."""
    url = databases.create(host.prepare)
    yield url
    databases.drop(url)


@pytest.fixture
def url(shared_url: str) -> str:
    """A database with all tables and no rows."""
    host.empty(shared_url)
    return shared_url


@pytest.fixture
def open_world(url: str) -> Iterator[Callable[..., World]]:
    """Open the context of an application with other settings: `open_world(SQUIDMESH_...=...)`."""
    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(host.make_world(url, **config))


@pytest.fixture
def world(open_world: Callable[..., World]) -> World:
    """An application with the default settings, within its context; nothing is sent."""
    return open_world()


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Iterator[FrozenClock]:
    """Time stands still at noon, for the application of this test."""
    request.getfixturevalue("world")
    with freeze(NOON) as frozen:
        yield frozen


@pytest.fixture
def seen() -> list[Any]:
    """What steps have noted."""
    return []

"""One database per module and kind, emptied before each test; a new application per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.contract import host
from tests.http.host import Api, open_api
from tests.support.databases import Databases


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
def new_api(url: str) -> Iterator[Callable[..., Api]]:
    """Open an application with other settings: `new_api(SQUIDMESH_...=...)`."""
    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(open_api(url, **config))


@pytest.fixture
def api(new_api: Callable[..., Api]) -> Api:
    """A client of an application with the default settings; everything is granted."""
    return new_api()

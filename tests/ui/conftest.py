"""One database per module, emptied before each test; a new application per test.

Pages ask the same of every database; the queries they add are tested on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.contract import host
from tests.support.databases import Databases
from tests.ui.host import Dashboard, open_dashboard


@pytest.fixture(scope="module")
def shared_url(sqlite_databases: Databases) -> Iterator[str]:
    """A database with all tables, for all tests of a module."""
    url = sqlite_databases.create(host.prepare)
    yield url
    sqlite_databases.drop(url)


@pytest.fixture
def url(shared_url: str) -> str:
    """A database with all tables and no rows."""
    host.empty(shared_url)
    return shared_url


@pytest.fixture
def new_dashboard(url: str) -> Iterator[Callable[..., Dashboard]]:
    """Open an application with other settings: `new_dashboard(SQUIDMESH_...=...)`."""
    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(open_dashboard(url, **config))


@pytest.fixture
def dashboard(new_dashboard: Callable[..., Dashboard]) -> Dashboard:
    """A visitor of an application with the default settings; everything is granted."""
    return new_dashboard()

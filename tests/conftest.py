"""The fixtures that give tests real parts; `tests/support` says how the parts work.

Servers start when the first test asks for one, and end with the session.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from flask_squidmesh.clock import wait_until
from flask_squidmesh.ids import new_id
from tests.support.databases import Databases, PostgresDatabases, SqliteDatabases
from tests.support.postgres import postgres_server
from tests.support.process import MARK, Process, Processes, survivors
from tests.support.valkey import Broker, flush

_BROWSER = Path(__file__).parent / "browser"
_MARKS = {
    "postgres_databases": "postgresql",
    "valkey_url": "broker",
    "broker": "broker",
    "processes": "worker",
}


def pytest_configure() -> None:
    # Whoever ends the run with SIGTERM (make, a CI) gets the same orderly end as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell that has started the tests in the background has SIGINT ignored, and what is ignored
    # here is so in every program that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the browser's tests out where nobody asks for them by name: they need Chromium."""
    if collection_path != _BROWSER:
        return None
    asked = (Path(argument.partition("::")[0]).resolve() for argument in config.args)
    return True if not any(path.is_relative_to(_BROWSER) for path in asked) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, mark in _MARKS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test has printed fit for the pipe between the processes of a parallel run."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session", autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fail the session when anything it has started outlives it."""
    os.environ[MARK] = new_id()
    yield
    wait_until(lambda: not survivors(), timeout=5)
    left = {process: process.cmdline() for process in survivors()}
    for process in left:
        process.kill()
    assert not left


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server; do not create anything in the database it names."""
    if running := os.environ.get("SQUIDMESH_TEST_DATABASE_URL"):
        yield running
        return
    with postgres_server() as server:
        yield server.url()


@pytest.fixture(scope="session")
def postgres_databases(postgres_url: str) -> Iterator[Databases]:
    """Makes databases on PostgreSQL."""
    databases = PostgresDatabases(postgres_url)
    yield databases
    databases.drop_all()


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Makes databases on SQLite."""
    databases = SqliteDatabases(tmp_path_factory.mktemp("sqlite"))
    yield databases
    databases.drop_all()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("sqlite", marks=pytest.mark.sqlite),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ],
)
def databases(request: pytest.FixtureRequest) -> Databases:
    """Makes databases; the test runs once for each kind."""
    kind = {"sqlite": "sqlite_databases", "postgresql": "postgres_databases"}[request.param]
    made: Databases = request.getfixturevalue(kind)
    return made


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """An empty database; the test runs once for each kind."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def postgres_database_url(postgres_databases: Databases) -> Iterator[str]:
    """An empty database on PostgreSQL, for what only a server with row locks can show."""
    url = postgres_databases.create()
    yield url
    postgres_databases.drop(url)


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey server that all tests share."""
    if running := os.environ.get("SQUIDMESH_TEST_BROKER_URL"):
        yield running
        return
    server = Broker(tmp_path_factory.mktemp("valkey"))
    yield server.url
    server.remove()


@pytest.fixture
def broker_url(valkey_url: str) -> str:
    """A broker that holds no message yet."""
    flush(valkey_url)
    return valkey_url


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, with `url`, `stop()`, `start()` (same address) and `flush()`."""
    server = Broker(tmp_path / "valkey")
    yield server
    server.remove()


@pytest.fixture
def processes(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Processes]:
    """Starts programs; what still runs after the test is killed."""
    started = Processes(tmp_path, cwd=pytestconfig.rootpath)
    yield started
    started.end_all()


@pytest.fixture
def process(processes: Processes) -> Callable[..., Process]:
    """Start any command: `process("flask", "run", ready="Running on", env={...})`."""
    return processes.start


@pytest.fixture
def worker_process(processes: Processes) -> Callable[..., Process]:
    """Start a Celery worker and wait until it consumes: `worker_process("module:celery_app")`."""
    return processes.start_worker

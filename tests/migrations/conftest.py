from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.migrations.host import Host


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what the `env.py` of every migrations folder does to the whole process."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    before = [(each, each.disabled, each.level, each.handlers[:]) for each in loggers]
    yield
    for each, disabled, level, handlers in before:
        each.disabled = disabled
        each.setLevel(level)
        each.handlers[:] = handlers


@pytest.fixture
def new_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Make a host application; without a database URL it has none that could be reached."""
    monkeypatch.chdir(tmp_path)

    def make(database_url: str = "sqlite:////no/such/folder/host.db", **options: Any) -> Host:
        return Host(tmp_path, database_url, **options)

    return make

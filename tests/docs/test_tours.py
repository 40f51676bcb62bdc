"""Somebody new follows the documents, from an empty folder, and everything is as written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs import environment
from tests.docs.tour import ROOT, Tour, blocks
from tests.support.process import MARK

# Some twenty programs start one after another, each in a second where nothing else runs.
pytestmark = [pytest.mark.worker, pytest.mark.timeout(400)]


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Callable[..., Tour]]:
    """Begin a tour; with *programs* where `flask` is in reach, as it is in an existing project."""
    with ExitStack() as undo:

        def begin(*, programs: Path | None = None, **variables: str) -> Tour:
            path = ["/usr/local/bin", "/usr/bin", "/bin"]
            shell = {
                "PATH": ":".join([*([str(programs)] if programs else []), *path]),
                "LANG": "C.UTF-8",
                MARK: os.environ[MARK],
                **variables,
            }
            return undo.enter_context(Tour(tmp_path, shell))

        yield begin


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The folder with the programs of a virtual environment."""
    environment.make(tmp_path / "venv")
    return tmp_path / "venv" / "bin"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def saved(document: str) -> dict[str, str]:
    """Return the files that a document has its readers save."""
    texts = (block.text for block in blocks(document) if block.info == "python")
    return {found[1]: text for text in texts if (found := re.match(r"# (\S+\.py)\n", text))}


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md"])
def test_somebody_new_gets_to_an_approved_run(tour, name):
    # Several sessions share a machine: any free port instead of 5000.
    followed = tour(FLASK_SQUIDMESH_DEV_PORT="0")
    followed.follow(read(name))
    # The last document shown tells of the approval; the ids in it have been found out.
    assert "approved  decide" in read(name).rpartition("```text")[2]
    assert followed.learned != {}


def test_existing_application_gets_its_first_workflow(tour, programs):
    tour(programs=programs).follow(read("docs/howto/existing-app.md"))


def test_existing_celery_application_executes_steps(tour, programs, broker_url):
    tour(programs=programs, BROKER_URL=broker_url).follow(read("docs/howto/existing-celery.md"))


def test_quick_start_takes_at_most_forty_lines_of_python():
    (app,) = saved(read("docs/quickstart.md")).values()
    assert len(app.splitlines()) <= 40


def test_readme_and_quick_start_have_the_same_application():
    assert saved(read("README.md")) == saved(read("docs/quickstart.md"))

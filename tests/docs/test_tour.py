"""A tour fails when something is not as the document says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import pip_stand_in
from tests.docs.terminal import CommandFailed
from tests.docs.tour import Tour, WrongOutput
from tests.support.process import MARK

pytestmark = pytest.mark.worker

ID = "01a20645-fc00-727d-a150-26fb34f87e07"
OTHER = "01a20645-ffff-727d-a150-26fb34f87e07"
REAL = "01a30000-0000-7000-8000-000000000001"


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    with Tour(tmp_path, {"PATH": os.environ["PATH"], MARK: os.environ[MARK]}) as begun:
        yield begun


def sh(*lines: str) -> str:
    return "```sh\n" + "".join(f"{line}\n" for line in lines) + "```\n"


def shows(*lines: str) -> str:
    return "\n```text\n" + "".join(f"{line}\n" for line in lines) + "```\n"


def test_output_is_compared(tour):
    tour.follow(sh("echo one", "echo two") + shows("two"))
    with pytest.raises(WrongOutput, match=r"two\nis shown to print\nthree\n"):
        tour.follow(sh("echo two") + shows("three"))


def test_whole_output_is_compared(tour):
    with pytest.raises(WrongOutput):
        tour.follow(sh("printf 'one\\ntwo\\n'") + shows("one"))


def test_command_that_fails_ends_the_tour(tour):
    with pytest.raises(CommandFailed, match="ended with 1"):
        tour.follow(sh("false", "true"))


def test_command_that_does_not_exist_ends_the_tour(tour):
    with pytest.raises(CommandFailed, match="command not found"):
        tour.follow(sh("squid --mesh"))


def test_shell_remembers_where_it_is(tour):
    tour.follow(
        sh("mkdir there && cd there", "NAME=squid")
        + sh("basename $PWD-$NAME")
        + shows("there-squid")
    )


def test_files_are_saved_where_the_shell_is(tour):
    python = '```python\n# inner/said.py\nprint("said")\n```\n'
    command = f"{sys.executable} inner/said.py"
    tour.follow(sh("mkdir there && cd there") + python + sh(command) + shows("said"))


def test_ids_stand_for_what_was_printed(tour):
    tour.follow(
        sh(f"echo run {REAL}") + shows(f"run {ID}") + sh(f"echo again {ID}") + shows(f"again {ID}")
    )
    assert tour.learned == {ID: REAL}
    with pytest.raises(WrongOutput):
        tour.follow(sh(f"echo {OTHER}") + shows(ID))


def test_one_id_stands_for_one_thing(tour):
    with pytest.raises(WrongOutput):
        tour.follow(sh(f"echo {REAL} {OTHER}") + shows(f"{ID} {ID}"))


def test_times_and_dots_stand_for_others(tour):
    shown = shows("at 2026-11-23 02:39:39Z by ... today")
    tour.follow(sh("echo at 2027-01-01 00:00:00Z by ada and grace today") + shown)
    tour.follow(sh("echo on http://127.0.0.1:4711") + shows("on http://127.0.0.1:5000"))
    with pytest.raises(WrongOutput):
        tour.follow(sh("echo at noon by ada today") + shown)


def test_what_is_left_running_is_waited_for_and_interrupted(tour):
    server = f"{sys.executable} -c \"import time; print('up', flush=True); time.sleep(50)\""
    tour.follow(sh("mkdir here && cd here", f"{server}    # leave it running") + shows("up"))
    # Another terminal, which begins in the first folder.
    tour.follow(sh("ls") + shows("here"))
    tour.follow(sh("# press Ctrl+C in the first terminal", "echo done") + shows("done"))


def test_block_can_be_left_out(tour):
    tour.follow("<!-- not on the tour: it would fail -->\n" + sh("false"))
    with pytest.raises(CommandFailed):
        tour.follow("<!-- generated: it fails -->\n" + sh("false"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("flask-squidmesh", []),
        ("flask_squidmesh[redis,postgresql]", []),
        ("flask-squidmesh[reddis]", ["flask-squidmesh has no extra reddis"]),
        ("flask-squidmesh>=99", ["flask-squidmesh>=99: the version is 1.0"]),
        ("Flask>=3", []),
        ("Flask>=99", ["Flask>=99 is not installed"]),
        ("flask-squidmash", ["flask-squidmash is not installed"]),
    ],
)
def test_stand_in_for_pip_knows_what_could_be_installed(asked, said):
    project = {
        "name": "flask-squidmesh",
        "version": "1.0",
        "optional-dependencies": {"redis": ["celery[redis]>=5"], "postgresql": ["psycopg>=3"]},
    }
    assert pip_stand_in.problems(asked, project) == said


def test_stand_in_for_pip_says_what_a_dependency_lacks():
    project = {
        "name": "flask-squidmesh",
        "version": "1.0",
        "optional-dependencies": {"redis": ["not-there>=5"]},
    }
    assert pip_stand_in.problems("flask-squidmesh[redis]", project) == [
        "not-there>=5 is not installed"
    ]

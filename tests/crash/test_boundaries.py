"""A process may die before or after any COMMIT, and before any message: the next one goes on.

What is killed here is a representative part; `python -m tests.crash.full` kills
at every point of every shape.
"""

from __future__ import annotations

import re
import sys

import pytest

from tests.crash.shapes import SHAPES

FULL = (sys.executable, "-m", "tests.crash.full", "--pairs", "0")


@pytest.mark.parametrize(("mode", "every"), [("inline", "5"), ("stepwise", "12")])
def test_run_whose_process_is_killed_at_a_commit_ends_as_if_it_was_not(
    process, database_url, databases, mode, every
):
    full = process(*FULL, "--url", database_url, "--modes", mode, "--every", every)
    assert full.wait_for_end(timeout=110) == 0, full.log
    last = full.log.splitlines()[-1]
    print(full.log)
    found = re.fullmatch(r"(\d+) shapes, (\d+) points, (\d+) kills: 0 shapes with problems", last)
    assert found, last
    shapes, points, kills = map(int, found.groups())
    assert shapes == len(SHAPES)
    assert kills > points // int(every) - shapes


def test_step_that_writes_twice_is_found(process, sqlite_databases):
    url = sqlite_databases.create()
    full = process(*FULL, "--url", url, "--modes", "inline", "--shapes", "careless")
    assert full.wait_for_end(timeout=60) == 1, full.log
    assert "killed after commit 3 of entry: host writes: expected" in full.log
    sqlite_databases.drop(url)

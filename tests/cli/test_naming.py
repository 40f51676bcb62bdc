"""A run is named by its id or the beginning of it, on every database."""

from __future__ import annotations

import pytest

from flask_squidmesh.ids import new_id
from tests.cli.workflows import Nap

DECISIONS = ["approve", "reject", "unblock", "cancel", "replay"]
ON_A_RUN = [*DECISIONS, "inspect", "explain", "watch"]


@pytest.mark.parametrize("name", ON_A_RUN)
def test_unknown_runs_are_refused(shell, name):
    for text in (new_id(), "0123abcd"):
        actor = ["--actor", "jane"] if name in DECISIONS else []
        said = shell.refuses(name, text, *actor)
        assert text in said
        assert "flask squidmesh runs" in said


@pytest.mark.parametrize("text", ["", "-", "zz", "01%", "01_", "0" * 33, "0-1", "'; --"])
def test_what_no_id_begins_with_is_refused(world, shell, text):
    world.start(Nap)
    assert "is not a run id" in shell.refuses("inspect", "--", text)


def test_run_may_be_named_by_a_unique_prefix(world, shell):
    run_id = world.start(Nap)
    digits = run_id.replace("-", "")
    for text in (run_id[:1], run_id[:8], run_id[:9], run_id[:20], run_id, digits, digits[:11]):
        assert shell.document("inspect", text)["id"] == run_id
    assert shell.document("inspect", run_id.upper()[:15])["id"] == run_id


def test_ambiguous_prefix_lists_the_candidates(world, shell):
    ids = sorted((world.start(Nap) for _ in range(12)), reverse=True)
    said = shell.refuses("cancel", ids[0][:4])
    listed = [line.split()[0] for line in said.splitlines()[1:]]
    assert listed == [*ids[:10], "..."]
    assert "beginning of several runs" in said
    assert len(world.squidmesh.list_runs(status="cancelled")) == 0


def test_only_the_run_that_is_meant_is_cancelled(world, shell):
    first, second = world.start(Nap), world.start(Nap)
    same = next(at for at in range(36) if first[at] != second[at])
    shell.does("cancel", second[: same + 1])
    assert [world.see(each).status for each in (first, second)] == ["pending", "cancelled"]

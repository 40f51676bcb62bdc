"""Pages of runs: filters, order, cursor, limits."""

from __future__ import annotations

import json

import pytest

from flask_squidmesh import RunPage, Workflow, complete, manual, pause, step
from flask_squidmesh.testing import run_until_idle


class Quick(Workflow):
    go = manual()
    other = manual()
    work = step(lambda: None)
    transitions = [work >> complete]


class Held(Workflow):
    go = manual()
    hold = pause()
    transitions = [hold >> complete]


@pytest.fixture
def squidmesh(world):
    world.squidmesh.register(Quick)
    world.squidmesh.register(Held)
    return world.squidmesh


def ids(page):
    return [run.id for run in page]


def test_no_runs_are_an_empty_page(squidmesh):
    page = squidmesh.list_runs()
    assert (list(page), len(page), page.next) == ([], 0, None)


def test_newest_comes_first(squidmesh, clock):
    started = []
    for _ in range(3):
        started.append(squidmesh.start_run(Quick).id)
        clock.advance(seconds=1)
    assert ids(squidmesh.list_runs()) == started[::-1]


def test_runs_of_one_moment_are_ordered_by_id(squidmesh, clock):
    started = [squidmesh.start_run(Quick).id for _ in range(5)]
    assert ids(squidmesh.list_runs()) == sorted(started, reverse=True)


def test_page_is_a_sequence_of_runs_as_inspect_run_gives_them(squidmesh):
    first, second = squidmesh.start_run(Held).id, squidmesh.start_run(Quick).id
    run_until_idle()
    page = squidmesh.list_runs()
    assert isinstance(page, RunPage)
    assert list(page) == [squidmesh.inspect_run(second), squidmesh.inspect_run(first)]
    assert (page[0], page[-1], page[:1]) == (page.items[0], page.items[1], page.items[:1])
    assert json.loads(json.dumps(page.to_dict())) == page.to_dict()


@pytest.mark.parametrize("workflow", [Held, "held"])
def test_filter_by_workflow(squidmesh, workflow):
    held = squidmesh.start_run(Held).id
    squidmesh.start_run(Quick)
    assert ids(squidmesh.list_runs(workflow=workflow)) == [held]


def test_filter_by_status(squidmesh):
    held = squidmesh.start_run(Held).id
    quick = squidmesh.start_run(Quick).id
    run_until_idle()
    pending = squidmesh.start_run(Quick).id
    found = {
        status: ids(squidmesh.list_runs(status=status))
        for status in ("paused", "completed", "pending", "failed")
    }
    assert found == {"paused": [held], "completed": [quick], "pending": [pending], "failed": []}


def test_filter_by_trigger(squidmesh):
    squidmesh.start_run(Quick)
    other = squidmesh.start_run(Quick, trigger="other").id
    assert ids(squidmesh.list_runs(trigger="other")) == [other]


def test_filters_add_up(squidmesh):
    squidmesh.start_run(Held)
    quick = squidmesh.start_run(Quick, trigger="other").id
    found = squidmesh.list_runs(workflow=Quick, status="pending", trigger="other")
    assert ids(found) == [quick]
    assert ids(squidmesh.list_runs(workflow=Held, trigger="other")) == []


@pytest.mark.parametrize("filters", [{}, {"status": "pending"}, {"workflow": "quick"}])
def test_cursor_leads_through_all_pages(squidmesh, clock, filters):
    for number in range(7):
        squidmesh.start_run(Quick)
        clock.advance(seconds=number % 2)
    pages = [squidmesh.list_runs(limit=3, **filters)]
    while pages[-1].next is not None:
        pages.append(squidmesh.list_runs(limit=3, after=pages[-1].next, **filters))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [i for page in pages for i in ids(page)] == ids(squidmesh.list_runs(limit=500))


def test_last_page_that_is_full_has_no_next(squidmesh):
    for _ in range(3):
        squidmesh.start_run(Quick)
    assert squidmesh.list_runs(limit=3).next is None
    assert squidmesh.list_runs(limit=2).next is not None


def test_runs_started_meanwhile_do_not_shift_the_pages(squidmesh):
    started = [squidmesh.start_run(Quick).id for _ in range(4)]
    page = squidmesh.list_runs(limit=2)
    squidmesh.start_run(Quick)
    assert ids(squidmesh.list_runs(limit=2, after=page.next)) == [started[1], started[0]]


def test_fifty_is_the_default_limit_and_500_the_largest(squidmesh):
    for _ in range(51):
        squidmesh.start_run(Quick)
    assert (len(squidmesh.list_runs()), len(squidmesh.list_runs(limit=500))) == (50, 51)


@pytest.mark.parametrize("limit", [0, -1, 501, 1.5, "5", None, True])
def test_limit_out_of_range_is_a_value_error(squidmesh, limit):
    with pytest.raises(ValueError, match="limit"):
        squidmesh.list_runs(limit=limit)


def test_unknown_filter_is_a_type_error(squidmesh):
    with pytest.raises(TypeError):
        squidmesh.list_runs(owner="ada")


@pytest.mark.parametrize("after", ["nonsense", "", "\ud800", "AAAA"])
def test_cursor_that_is_not_ours_is_a_value_error(squidmesh, after):
    with pytest.raises(ValueError, match="cursor"):
        squidmesh.list_runs(after=after)


def test_unknown_status_is_a_value_error(squidmesh):
    with pytest.raises(ValueError, match="status"):
        squidmesh.list_runs(status="nonsense")

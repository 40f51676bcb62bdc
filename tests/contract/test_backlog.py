"""A worker goes on with runs that nobody has begun, when it finds signs of them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_squidmesh import Workflow, complete, manual, pause, step
from flask_squidmesh.current import state
from flask_squidmesh.engine.backlog import AT_ONCE, LATE
from flask_squidmesh.engine.news import Ring
from flask_squidmesh.store import models
from tests.contract.host import db


class Quick(Workflow):
    go = manual()
    work = step(lambda: None)
    transitions = [work >> complete]


class Held(Workflow):
    go = manual()
    hold = pause()
    transitions = [hold >> complete]


class Side(Workflow):
    go = manual()
    left = step(lambda: None)
    right = step(lambda: None)
    join = step(lambda: None, after=[left, right])


class Twin(Workflow):
    """Begins with a step of the same name, with another beside it."""

    go = manual()
    work = step(lambda: None)
    join = step(lambda: None, after=[work])


def deliver(run_id, step_name="work"):
    return (
        state()
        .engine()
        .deliver(run_id, step_name, may_continue=lambda: True, after_commit=lambda _news: None)
    )


def take():
    return state().engine().take_waiting()


def take_all():
    """Take hints, and do what they say, until there are none; return the runs in their order."""
    done = []
    while (ring := take()) is not None:
        assert deliver(ring.run_id, ring.step) == "executed"
        done.append(ring.run_id)
    return done


def begin_late(world, clock, seconds):
    """Execute a run that has waited so long."""
    run_id = world.start(Quick)
    clock.advance(seconds=seconds)
    assert deliver(run_id) == "executed"


def test_step_that_was_ready_for_long_is_a_sign_of_others(world, clock):
    waiting = {world.start(Quick) for _ in range(3)}
    begin_late(world, clock, LATE.total_seconds() + 0.001)
    assert set(take_all()) == waiting
    assert {world.see(run_id).status for run_id in waiting} == {"completed"}


def test_punctual_step_is_not_and_costs_no_look(world, clock):
    world.start(Quick)
    clock.advance(seconds=1)
    begin_late(world, clock, LATE.total_seconds())
    asked = []
    sa.event.listen(db.engine, "before_cursor_execute", lambda *_: asked.append(1))
    assert take() is None
    assert asked == []


def test_step_that_somebody_else_has_done_is_a_sign_of_others(world, clock):
    run_id = world.start(Quick)
    assert deliver(run_id) == "executed"
    waiting = world.start(Quick)
    assert deliver(run_id) == "finished"
    assert take_all() == [waiting]


def test_hints_are_read_together_oldest_first_from_any_place_on(world, clock):
    ids = []
    for _ in range(AT_ONCE + 5):
        ids.append(world.start(Quick))
        clock.advance(seconds=0.001)
    begin_late(world, clock, 1)
    hints = [take() for _ in range(AT_ONCE)]
    assert {hint.run_id for hint in hints if hint} == set(ids[:AT_ONCE])
    first = ids.index(hints[0].run_id)
    expected = [*ids[first:AT_ONCE], *ids[:first]]
    assert hints == [Ring(run_id, "work", begins=True) for run_id in expected]


def test_only_what_a_claim_begins_is_offered(world, clock):
    """Not what a message begins otherwise, what was begun, or what nobody here has code for."""
    world.start(Held)
    world.start(Side)
    begun = world.start(Quick)
    assert deliver(begun) == "executed"
    with db.engine.begin() as connection:
        unknown = world.start(Quick)
        connection.execute(
            sa.update(models.run_states)
            .where(models.run_states.c.run_id == unknown)
            .values(workflow="of_another_worker")
        )
    begin_late(world, clock, 1)
    assert take() is None


def test_hints_that_come_to_nothing_are_dropped(world, clock):
    ids = [world.start(Quick) for _ in range(20)]
    begin_late(world, clock, 1)
    first = take()
    assert first is not None
    for run_id in ids:
        # Another worker is faster.
        with db.engine.begin() as connection:
            connection.execute(
                sa.update(models.run_states)
                .where(models.run_states.c.run_id == run_id)
                .values(status="cancelled", finished_at=models.run_states.c.created_at)
            )
    seen = 0
    while (ring := take()) is not None:
        assert deliver(ring.run_id) != "executed"
        seen += 1
    assert seen == 3


def test_locked_run_is_left_to_whoever_has_it(world, clock):
    if db.engine.dialect.name != "postgresql":
        pytest.skip("there are no row locks here")
    locked, free = world.start(Quick), world.start(Quick)
    begin_late(world, clock, 1)
    with db.engine.begin() as connection:
        connection.execute(
            sa.select(models.run_states)
            .where(models.run_states.c.run_id == locked)
            .with_for_update()
        )
        ring = take()
        assert ring is not None
        assert ring.run_id == free
        assert take() is None


def test_only_runs_that_are_found_may_have_their_message_left_out(world, clock):
    """By those who start them as by the ticker that rings again."""
    ids = {workflow: world.start(workflow) for workflow in (Quick, Twin, Held)}
    begun = world.start(Quick)
    assert deliver(begun) == "executed"
    clock.advance(seconds=11)
    _, news = state().engine().tick()
    assert {ring.run_id: ring.begins for ring in news.rings} == {
        ids[Quick]: True,
        ids[Twin]: False,
        ids[Held]: False,
    }

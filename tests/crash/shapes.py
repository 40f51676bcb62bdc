"""The workflow shapes, and what clients and people do with them.

A script is executed from its beginning by every process that lives, so each
line of it does what is still to be done, as a client does who lost the answer.
At a `yield` the process does the work there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from flask import current_app

from flask_squidmesh import (
    Retry,
    StepContext,
    StepFailed,
    Workflow,
    approval,
    complete,
    cron,
    fixed,
    log,
    manual,
    pause,
    step,
    wait,
)
from tests.crash.host import Entry, Order, World, db, write

Script = Iterator[None]


@dataclass(frozen=True)
class Shape:
    """A workflow, and how it is used.

    The step runs of `cancellable` steps may end cancelled instead of completed,
    which is right when their worker dies while the run is being cancelled.
    """

    script: Callable[[World], Script]
    workflows: tuple[type[Workflow], ...]
    cancellable: frozenset[str] = frozenset()


def succeed(context: StepContext) -> dict[str, bool]:
    """Write, and leave something in the run's context."""
    write(context)
    return {context.step: True}


def fail_twice(context: StepContext) -> dict[str, bool]:
    """Write, and fail in the first two attempts all the same."""
    write(context)
    if context.attempt < 3:
        raise OSError("not yet")
    return {context.step: True}


def fail(context: StepContext) -> None:
    """Write, and fail for good."""
    write(context)
    raise StepFailed("never", code="never")


class Straight(Workflow):
    """One step after the other."""

    go = manual()
    load = step(succeed)
    tell = log("loaded")
    price = step(succeed, output="price")
    ship = step(succeed)
    transitions = (load >> tell >> price >> ship >> complete,)


class Short(Workflow):
    """Ends with a step that writes nothing, so its end may begin another run."""

    go = manual()
    load = step(succeed)
    tell = log("loaded")
    transitions = (load >> tell >> complete,)


class Retried(Workflow):
    """Steps that fail before they succeed, with a delay and without."""

    go = manual()
    patient = step(fail_twice, retry=Retry(6, fixed(5)))
    hasty = step(fail_twice, retry=Retry(6))
    transitions = (patient >> hasty >> complete,)


class Failing(Workflow):
    """Fails, with its attempts used up."""

    go = manual()
    work = step(fail)
    transitions = (work >> complete,)


class Rescued(Workflow):
    """A failure that leads elsewhere."""

    go = manual()
    risky = step(fail)
    credit = step(lambda context: {"because": context.failure["code"], **succeed(context)})
    transitions = (risky >> complete, risky.on_error(credit), credit >> complete)


class Waiting(Workflow):
    """A timer between two steps."""

    go = manual()
    before = step(succeed)
    timer = wait(seconds=30)
    after = step(succeed)
    transitions = (before >> timer >> after >> complete,)


class Held(Workflow):
    """A pause between two steps."""

    go = manual()
    before = step(succeed)
    hold = pause()
    after = step(succeed)
    transitions = (before >> hold >> after >> complete,)


class Reviewed(Workflow):
    """An approval, with a step on either route."""

    go = manual()
    before = step(succeed)
    review = approval(output="decision")
    ship = step(succeed)
    refund = step(succeed)
    transitions = (
        before >> review >> ship >> complete,
        review.on_error(refund),
        refund >> complete,
    )


class Joined(Workflow):
    """Two roots, a step that waits for one, a step that waits for both."""

    go = manual()
    left = step(succeed)
    right = step(fail_twice, retry=Retry(6, fixed(5)))
    aside = step(succeed, after=[left])
    both = step(succeed, after=[left, right])


class Torn(Workflow):
    """A dependency that fails while others are under way."""

    go = manual()
    left = step(succeed)
    right = step(fail)
    both = step(succeed, after=[left, right])


def count_up(context: StepContext, turns: int = 0) -> dict[str, int]:
    """Write, and count the turns."""
    write(context)
    return {"turns": turns + 1}


def leave_after_three(turns: int) -> None:
    """Lead out of the loop in the third turn."""
    if turns == 3:
        raise StepFailed("enough", code="enough")


class Looping(Workflow):
    """A loop of three turns."""

    go = manual()
    turn = step(count_up)
    check = step(leave_after_three)
    done = step(succeed)
    transitions = (turn >> check >> turn, check.on_error(done), done >> complete)


def cancel_own_run(context: StepContext) -> dict[str, bool]:
    """Be cancelled by somebody while executing."""
    squidmesh = current_app.extensions["crash_squidmesh"]
    if squidmesh.inspect_run(context.run_id).status == "running":
        squidmesh.cancel_run(context.run_id, actor="olivia")
    return succeed(context)


class Cancelled(Workflow):
    """A run that is cancelled while its step executes."""

    go = manual()
    before = step(succeed)
    work = step(cancel_own_run)
    never = step(succeed)
    transitions = (before >> work >> never >> complete,)


class Nightly(Workflow):
    """Started by the clock."""

    nightly = cron("0 3 * * *")
    work = step(succeed)
    transitions = (work >> complete,)


def commit_early(context: StepContext) -> dict[str, bool]:
    """Commit something on its own, once, and something else with the step."""
    key = f"{context.idempotency_key}/early"
    if db.session.scalar(sa.select(Entry).where(Entry.key == key)) is None:
        write(context, "/early")
        db.session.commit()
    return succeed(context)


def apart_from_the_step(context: StepContext) -> dict[str, bool]:
    """Commit everything, as a step without the common transaction must."""
    key = f"{context.idempotency_key}/early"
    if db.session.scalar(sa.select(Entry).where(Entry.key == key)) is None:
        write(context, "/early")
    db.session.commit()
    return {context.step: True}


class Committing(Workflow):
    """Steps that commit by themselves."""

    go = manual()
    early = step(commit_early)
    apart = step(apart_from_the_step, transaction=False)
    transitions = (early >> apart >> complete,)


def commit_carelessly(context: StepContext) -> None:
    """Commit on its own, without looking whether that was done before."""
    write(context)
    db.session.commit()


class Careless(Workflow):
    """Writes twice when it is killed at the wrong moment, as its author asked for."""

    go = manual()
    work = step(commit_carelessly)
    transitions = (work >> complete,)


def _just(workflow: type[Workflow]) -> Shape:
    def script(world: World) -> Script:
        world.start(workflow)
        yield

    return Shape(script, (workflow,))


def _held(world: World) -> Script:
    run = world.start(Held)
    yield
    if world.see(run.id).status == "paused":
        world.squidmesh.unblock_run(run.id, actor="olivia")
    yield


def _approved(world: World) -> Script:
    run = world.start(Reviewed)
    yield
    if world.see(run.id).status == "paused":
        world.squidmesh.approve_run(run.id, actor="olivia", comment="fine")
    yield


def _rejected(world: World) -> Script:
    run = world.start(Reviewed)
    yield
    if world.see(run.id).status == "paused":
        world.squidmesh.reject_run(run.id, actor="olivia")
    yield


def _cancelled_at_rest(world: World) -> Script:
    run = world.start(Held)
    yield
    if world.see(run.id).status == "paused":
        world.squidmesh.cancel_run(run.id, actor="olivia")
    yield


def _replayed(world: World) -> Script:
    source = world.start(Straight)
    yield
    if len(world.runs()) == 1:
        world.squidmesh.replay_run(source.id, actor="olivia")
    yield


def _fired(world: World) -> Script:
    # The scripts begin at noon; the first round makes the trigger known.
    world.tick()
    yield
    three = world.clock.now.replace(hour=3)
    if three < world.clock.now:
        three += timedelta(days=1)
    if not world.runs():
        world.clock.advance(seconds=(three - world.clock.now).total_seconds())
        world.tick()
    yield


def _piled_up(world: World) -> Script:
    for number in range(3):
        world.start(Short, key=str(number))
    # Whoever begins one of them late looks for the others.
    world.clock.advance(seconds=1)
    yield


def _ordered(world: World) -> Script:
    if db.session.scalar(sa.select(Order)) is None:
        run = world.squidmesh.start_run(Straight, session=db.session)
        db.session.add(Order(run_id=run.id))
        db.session.commit()
    db.session.rollback()
    yield


SHAPES = {
    "straight": _just(Straight),
    "retries": _just(Retried),
    "failure": _just(Failing),
    "error_route": _just(Rescued),
    "wait": _just(Waiting),
    "pause": Shape(_held, (Held,)),
    "approval": Shape(_approved, (Reviewed,)),
    "rejection": Shape(_rejected, (Reviewed,)),
    "join": _just(Joined),
    "torn_join": Shape(_just(Torn).script, (Torn,), frozenset({"left", "right"})),
    "loop": _just(Looping),
    "cancel_in_flight": Shape(_just(Cancelled).script, (Cancelled,), frozenset({"work"})),
    "cancel_at_rest": Shape(_cancelled_at_rest, (Held,)),
    "replay": Shape(_replayed, (Straight,)),
    "cron": Shape(_fired, (Nightly,)),
    "backlog": Shape(_piled_up, (Short,)),
    "host_transaction": Shape(_ordered, (Straight,)),
    "own_commits": _just(Committing),
}

WRONG = {"careless": _just(Careless)}
"""Shapes that must be found wrong, so that it is known that wrong ones are found."""

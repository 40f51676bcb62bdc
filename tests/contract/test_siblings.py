"""Going on from one branch of a run to another: the same rows and news as one message each."""

from __future__ import annotations

import types
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import fields

from flask_squidmesh import Retry, StepFailed, Workflow, fixed, log, manual, step, wait
from flask_squidmesh.current import state
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.engine.spread import AT_ONCE, WOKEN
from flask_squidmesh.store.models import attempts, branches, joins, step_runs
from flask_squidmesh.testing import run_until_idle, tick
from tests.contract.host import World, db, notes, path, step_run, write
from tests.contract.test_inline import forget_notes, told

BEHAVIOURS = st.lists(
    st.sampled_from(["ok", "ok", "write", "later", "again", "fail"]), min_size=6, max_size=6
)
ENDED = {"completed", "failed"}


def act(context, script, **seen):
    what = script[["a0", "a1", "a2", "b0", "b1", "b2"].index(context.step)]
    if what == "write":
        write(context.step)
    if what == "fail" or (what in {"later", "again"} and context.attempt == 1):
        raise StepFailed("no") if what == "fail" else OSError("not yet")
    return {context.step: sorted(seen)}


class Net(Workflow):
    """Two fan-outs that see different things, a timer, a log, and joins."""

    go = manual(script=fields.List(fields.String(), required=True))
    one = step(lambda: {"one": 1})
    two = step(lambda: {"two": 2})
    a0 = step(act, after=[one], retry=Retry(2, fixed(5)))
    a1 = step(act, after=[one], retry=Retry(2))
    a2 = step(act, after=[one], retry=Retry(2, fixed(5)))
    rest = wait(seconds=5, after=[one])
    note = log("noted", after=[rest])
    b0 = step(act, after=[two], retry=Retry(2))
    b1 = step(act, after=[two], retry=Retry(2, fixed(5)))
    b2 = step(act, after=[two], retry=Retry(2))
    few = step(lambda **seen: {"few": sorted(seen)}, after=[a0, a1])
    join = step(lambda **seen: {"all": sorted(seen)}, after=[a2, b0, b1, b2, few, note])


def drive(world: World, run_id: str, clock: Any, way: str) -> list[tuple[str, dict[str, object]]]:
    """Execute the run to its end in one of the ways, and return the news of it, without its id."""
    heard: list[tuple[str, dict[str, object]]] = []

    def listen(news: News) -> None:
        heard.extend(
            (n.name, {k: v for k, v in n.values.items() if k != "run_id"}) for n in news.notices
        )

    engine = state().engine()
    while world.see(run_id).status not in ENDED:
        ready = engine.list_ready()
        if not ready:
            clock.advance(seconds=5)
            continue
        page = deque(ring.step for ring in ready)
        while page:
            name = page.popleft()
            engine.deliver(
                run_id,
                name,
                may_continue=lambda: way == "inline",
                after_commit=listen,
                then=page if way == "chained" else None,
            )
    return heard


def rows(run_id: str) -> list[Any]:
    """Return what the database says of the ended step runs and attempts, in their order."""
    found: list[Any] = []
    with db.engine.connect() as connection:
        for table in (step_runs, attempts):
            kept = [c for c in table.c if c.name not in {"run_id", "traceback"}]
            query = sa.select(*kept).where(table.c.run_id == run_id).order_by(table.c.ordinal)
            found += map(tuple, connection.execute(query))
    return found


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(script=BEHAVIOURS)
def test_going_on_with_siblings_leaves_the_same_rows_and_news(world, clock, script):
    begun = clock.now
    ways = {}
    for way in ("one by one", "chained"):
        clock._now = begun
        run_id = world.start(Net, {"script": script})
        news = drive(world, run_id, clock, way)
        ways[way] = (told(world.see(run_id)), rows(run_id), news, notes())
        forget_notes()
    assert ways["chained"] == ways["one by one"]


@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(script=BEHAVIOURS)
def test_a_worker_with_time_comes_to_the_same_end(world, clock, script):
    begun = clock.now
    ends = []
    for way in ("one by one", "inline"):
        clock._now = begun
        run_id = world.start(Net, {"script": script})
        drive(world, run_id, clock, way)
        run = world.see(run_id)
        counted = {s.step: len(s.attempts) for s in run.step_runs}
        # Who fails ends the run at once, and how far the others have come by then may differ.
        ends.append((run.status, counted) if run.status == "completed" else (run.status, {}))
        forget_notes()
    assert ends[0] == ends[1]


def fan_out(width: int, **body: Any) -> type[Workflow]:
    """Return a workflow with a root, that many branches, and a join."""
    names = [f"branch_{number}" for number in range(width)]
    body = {"go": manual(), "root": step(lambda: {"root": True}), **body}
    for name in names:
        body.setdefault(name, step(lambda root: {"root": root}, after=["root"]))
    body["join"] = step(lambda: None, after=names)
    made = types.new_class(f"FanOut{width}", (Workflow,), {}, lambda ns: ns.update(body))
    return cast("type[Workflow]", made)


def deliver(run_id: str, name: str, *, turns: int | None = None, **options: Any) -> list[Ring]:
    """Do what a worker does with a message if it has time for so many steps; return the rings."""
    rings: list[Ring] = []
    left = iter(range(turns)) if turns is not None else iter(int, 1)

    def may_continue() -> bool:
        return next(left, None) is not None

    word = (
        state()
        .engine()
        .deliver(
            run_id,
            name,
            may_continue=may_continue,
            after_commit=lambda news: rings.extend(news.rings),
            **options,
        )
    )
    assert word == "executed"
    return rings


def waiting(run_id: str) -> dict[str, Any]:
    """Return the steps that wait for a worker, with the time at which each was rung."""
    query = sa.select(branches.c.step, branches.c.rung_at).where(
        branches.c.run_id == run_id, branches.c.status == "pending"
    )
    with db.engine.connect() as connection:
        return {
            row.step: row.rung_at for row in connection.execute(query.order_by(branches.c.slot))
        }


def test_one_message_is_enough_for_a_whole_fan_out(world, clock):
    run_id = world.start(fan_out(12))
    rings = deliver(run_id, "root")
    run = world.see(run_id)
    assert run.status == "completed"
    assert path(run) == ["root", *(f"branch_{n}" for n in range(12)), "join"]
    assert {a.number for s in run.step_runs for a in s.attempts} == {1}
    assert [ring.step for ring in rings] == [f"branch_{n}" for n in range(1, 12)]


def test_whoever_begins_in_the_middle_comes_round_to_the_first(world, clock):
    run_id = world.start(fan_out(5))
    deliver(run_id, "root", turns=0)
    deliver(run_id, "branch_3")
    assert world.see(run_id).status == "completed"
    assert world.see(run_id).context == {"root": True}


def test_a_wide_fan_out_is_rung_little_by_little(world, clock):
    run_id = world.start(fan_out(2 * AT_ONCE + 10))
    rings = deliver(run_id, "root", turns=0)
    assert [ring.step for ring in rings] == [f"branch_{n}" for n in range(WOKEN)]
    assert sum(at is None for at in waiting(run_id).values()) == 2 * AT_ONCE + 10 - WOKEN
    clock.advance(seconds=9.9)
    assert tick().due == 0
    clock.advance(seconds=0.1)
    # Those of the beginning, which nobody took, and as many new ones.
    assert tick().due == 2 * AT_ONCE
    clock.advance(seconds=10)
    assert tick().due == 2 * AT_ONCE + 10
    assert None not in waiting(run_id).values()
    assert world.go(run_id).status == "completed"


def test_many_roots_are_rung_little_by_little_but_timers_at_once(world, clock):
    body: dict[str, Any] = {"go": manual(), "last_timer": wait(seconds=1)}
    body |= {f"root_{n}": step(lambda: None) for n in range(WOKEN + 1)}
    body["first_timer"] = wait(seconds=1)
    body["end"] = step(lambda: None, after=["first_timer"])
    made: Any = types.new_class("Roots", (Workflow,), {}, lambda ns: ns.update(body))
    run_id = world.start(made)
    unrung = [name for name, at in waiting(run_id).items() if at is None]
    assert unrung == [f"root_{WOKEN}"]
    assert world.go(run_id, advance=True).status == "completed"


def test_a_worker_that_gives_way_rings_for_one_that_was_not_rung(world, clock):
    run_id = world.start(fan_out(WOKEN + 7))
    deliver(run_id, "root", turns=0)
    assert deliver(run_id, "branch_0", turns=0) == unrung(run_id, 0, 1, 2)
    assert deliver(run_id, "branch_1", turns=2) == unrung(run_id, 3, 4, 5)
    assert next(iter(waiting(run_id))) == "branch_4"
    assert deliver(run_id, "branch_4", turns=0) == unrung(run_id, 6)
    assert deliver(run_id, "branch_5", turns=0) == [], "all are rung by now"


def unrung(run_id, *numbers):
    """Return the rings for these of the branches that were not rung in the beginning."""
    return [Ring(run_id, f"branch_{WOKEN + number}") for number in numbers]


def test_a_worker_that_is_woken_wakes_two_more(world, clock):
    run_id = world.start(fan_out(WOKEN + 5))
    deliver(run_id, "root", turns=0)
    assert deliver(run_id, "branch_3")[:2] == unrung(run_id, 0, 1)
    assert world.see(run_id).status == "completed"


@pytest.mark.parametrize("size", [WOKEN, WOKEN + 1, 10 * WOKEN])
def test_messages_alone_bring_workers_to_every_branch(world, clock, size):
    """Where each does one step and gives way, and no ticker looks."""
    run_id = world.start(fan_out(size))
    messages = deque(["root"])
    sent = 1
    while messages:
        rings = deliver(run_id, messages.popleft(), turns=0)
        messages.extend(ring.step for ring in rings)
        sent += len(rings)
    assert world.see(run_id).status == "completed"
    assert sent == size + 2


def test_steps_to_go_on_with_are_taken_in_their_order_and_no_others(world, clock):
    run_id = world.start(fan_out(6))
    deliver(run_id, "root", turns=0)
    then = deque(["branch_4", "branch_2", "root", "branch_3"])
    deliver(run_id, "branch_5", turns=0, then=then)
    assert (list(then), list(waiting(run_id))) == (
        ["root", "branch_3"],
        ["branch_0", "branch_1", "branch_3"],
    )


@pytest.mark.parametrize("what", ["lease", "cancel"])
def test_nothing_is_taken_after_the_lease_or_the_run_is_gone(world, clock, what):
    def lose(context):
        if what == "cancel":
            world.squidmesh.cancel_run(context.run_id)
        elif context.attempt == 1:
            clock.advance(seconds=61)
            state().engine().expire()

    run_id = world.start(fan_out(4, branch_1=step(lose, after=["root"])))
    deliver(run_id, "root", turns=0)
    deliver(run_id, "branch_1")
    if what == "cancel":
        assert (world.see(run_id).status, waiting(run_id)) == ("cancelled", {})
    else:
        assert list(waiting(run_id)) == ["branch_0", "branch_2", "branch_3"]
        assert run_until_idle() == 5
        assert world.see(run_id).status == "completed"


def test_branches_whose_code_is_missing_are_passed_over(world, clock):
    flow = fan_out(4)
    run_id = world.start(flow)
    code = flow.__squidmesh__
    left = {name: f for name, f in code.functions.items() if name != "branch_1"}
    object.__setattr__(code, "functions", left)
    deliver(run_id, "root")
    assert list(waiting(run_id)) == ["branch_1"]


def test_a_join_that_becomes_ready_starts_before_its_siblings_end(world, clock):
    class Early(Workflow):
        go = manual()
        root = step(lambda: None)
        first = step(lambda: None, after=[root])
        second = step(lambda: None, after=[root])
        other = step(lambda: None, after=[root])
        few = step(lambda: None, after=[first, second])
        end = step(lambda: None, after=[few, other])

    run_id = world.start(Early)
    deliver(run_id, "root", turns=0)
    deliver(run_id, "first", turns=2)
    assert list(waiting(run_id)) == ["other"]
    assert step_run(world.see(run_id), "few").status == "completed"
    assert world.go(run_id).status == "completed"


@pytest.mark.parametrize("writes", [False, True], ids=["apart", "with the host's session"])
def test_a_branch_costs_one_commit(world, clock, writes):
    def work(context):
        if writes:
            write(context.step)

    body = {f"branch_{n}": step(work, after=["root"]) for n in range(8)}
    run_id = world.start(fan_out(8, **body))
    deliver(run_id, "root", turns=0)
    commits: list[Any] = []
    sa.event.listen(db.engine, "commit", commits.append)
    sa.event.listen(db.engine, "before_cursor_execute", note_own_commit(commits))
    deliver(run_id, "branch_0", turns=7)
    # The claim of the first, and each settlement.
    assert len(commits) == 1 + 8
    assert len(notes()) == (8 if writes else 0)


def note_own_commit(commits: list[Any]) -> Any:
    def note(connection: Any, *_: Any) -> None:
        if getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
            commits.append(connection)

    return note


def test_lost_answer_is_found_and_gone_on_with(world, clock):
    flow = fan_out(5)
    run_id = world.start(flow)
    deliver(run_id, "root", turns=0)
    lost: list[str] = []

    def lose_answer(_connection, _cursor, text, *_):
        if (
            "step_runs" in text
            and text.lstrip().upper().startswith(("WITH", "INSERT"))
            and not lost
        ):
            lost.append(text)

    def fail(connection):
        raise sa.exc.OperationalError("COMMIT", {}, OSError("gone"), connection_invalidated=True)

    def after(connection, *arguments):
        lose_answer(connection, *arguments)
        own = getattr(connection.connection.dbapi_connection, "autocommit", False) is True
        if len(lost) == 1 and own:
            lost.append("answer")
            fail(connection)

    def after_commit(_dbapi_connection):
        if len(lost) == 1:
            lost.append("answer")
            fail(None)

    sa.event.listen(db.engine, "after_cursor_execute", after)
    original = db.engine.dialect.do_commit

    def commit(dbapi_connection):
        original(dbapi_connection)
        after_commit(dbapi_connection)

    db.engine.dialect.do_commit = commit  # type: ignore[method-assign]  # the wire, not our code
    deliver(run_id, "branch_0")
    assert lost[1:] == ["answer"]
    run = world.see(run_id)
    assert run.status == "completed"
    assert {(s.step, len(s.attempts)) for s in run.step_runs} == {
        (name, 1) for name in ("root", *(f"branch_{n}" for n in range(5)), "join")
    }


def test_several_workers_share_a_fan_out(world):
    """Two joins, so that the workers count different ones down at the same moment."""
    left, right = ([f"{side}_{n}" for n in range(12)] for side in ("left", "right"))
    body: dict[str, Any] = {"go": manual(), "root": step(lambda: None)}
    body |= {name: step(lambda: None, after=["root"]) for name in (*left, *right)}
    body |= {"few": step(lambda: None, after=left), "rest": step(lambda: None, after=right)}
    made: Any = types.new_class("Shared", (Workflow,), {}, lambda ns: ns.update(body))
    run_id = world.start(made)
    deliver(run_id, "root", turns=0)

    def work(name: str) -> str:
        with world.app.app_context():
            return (
                state()
                .engine()
                .deliver(run_id, name, may_continue=lambda: True, after_commit=lambda _: None)
            )

    with ThreadPoolExecutor(3) as pool:
        words = set(pool.map(work, ("left_0", "left_6", "right_6")))
    assert words <= {"executed", "finished", "already_running"}
    run = world.go(run_id)
    assert run.status == "completed"
    assert [len(s.attempts) for s in run.step_runs] == [1] * 27
    assert sorted(row[3] for row in rows(run_id)[:27]) == list(range(1, 28))


def test_attempts_are_numbered_and_the_join_is_counted_down(world, clock):
    run_id = world.start(fan_out(5))
    deliver(run_id, "root", turns=3)
    with db.engine.connect() as connection:
        missing = connection.scalar(sa.select(joins.c.missing).where(joins.c.run_id == run_id))
        ordinals = connection.scalars(sa.select(attempts.c.ordinal).order_by(attempts.c.ordinal))
        assert (missing, list(ordinals)) == (2, [1, 2, 3, 4])

"""The public API, driven at random on real databases, does what the reference says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_squidmesh import (
    InvalidTransition,
    Retry,
    Run,
    StepFailed,
    Workflow,
    WrongStepKind,
    approval,
    complete,
    fixed,
    log,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.clock import FrozenClock
from flask_squidmesh.current import state
from flask_squidmesh.testing import abandon, deliver, freeze, run_until_idle, tick
from tests.contract.host import World, db, make_world, prepare
from tests.property.reference import (
    MAX_VISITS,
    TERMINAL,
    Declared,
    Reference,
    Refused,
    Shape,
    ready,
)
from tests.support.databases import Databases

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
MOST_RUNS = 4
PLAY: list[Callable[[Any], Any]] = []
"""What the step function does that is executed next; the last one comes first."""


def output_of(name: str, visit: int, attempt: int) -> dict[str, Any]:
    return {name: f"visit {visit}, attempt {attempt}"}


def ignore(_news):
    """Tell nobody: the messages that would be sent are made up here."""


def play(context):
    if PLAY:
        return PLAY.pop()(context)
    visit = int(context.idempotency_key.rpartition(":")[2])
    return output_of(context.step, visit, context.attempt)


class Road(Workflow):
    """Every kind of step, error routes, and a loop."""

    go = manual()
    load = step(play, retry=Retry(3, fixed(10)))
    announce = log("loaded")
    rest = wait(seconds=30)
    hold = pause()
    review = approval(output="decision")
    ship = step(play)
    refund = step(play, at_most_once=True)
    transitions = [
        load >> announce >> rest >> hold >> review >> ship >> complete,
        review.on_error(refund),
        ship.on_error(load),
        refund >> complete,
    ]


class Loop(Workflow):
    """As short as a loop can be, so that its limit is met."""

    go = manual()
    work = step(play)
    turn = step(play)
    transitions = [work >> turn >> work, turn.on_error(complete)]


class Net(Workflow):
    """Several roots, a step that waits for one, a timer, and joins."""

    go = manual()
    left = step(play, retry=Retry(2, fixed(10)))
    right = step(play, retry=Retry(3))
    alone = step(play)
    rest = wait(seconds=30, after=[left])
    join = step(play, after=[left, right])
    last = step(play, after=[rest, join])


SHAPES: dict[str, Shape] = {
    "road": {
        "load": Declared(ok="announce", retry=(3, 10)),
        "announce": Declared("log", ok="rest"),
        "rest": Declared("wait", ok="hold", seconds=30),
        "hold": Declared("pause", ok="review"),
        "review": Declared("approval", ok="ship", error="refund"),
        "ship": Declared(ok="complete", error="load"),
        "refund": Declared(ok="complete", at_most_once=True),
    },
    "loop": {
        "work": Declared(ok="turn"),
        "turn": Declared(ok="work", error="complete"),
    },
    "net": {
        "left": Declared(retry=(2, 10)),
        "right": Declared(retry=(3, 0)),
        "alone": Declared(),
        "rest": Declared("wait", after=("left",), seconds=30),
        "join": Declared(after=("left", "right")),
        "last": Declared(after=("rest", "join")),
    },
}
NAMES = sorted({name for shape in SHAPES.values() for name in shape} | {"nowhere"})
ENDS = ("ok", "ok", "fail", "fail", "fatal", "abandon")
BEFORE = (None, None, None, "cancel", "overtake", "other")
"""What somebody does while a step function executes."""


class Api(RuleBasedStateMachine):
    """Does the same to real runs and to their references, and compares."""

    url: ClassVar[str]
    runs: Bundle[str] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world: World = self.stack.enter_context(
            make_world(self.url, SQUIDMESH_MAX_STEP_VISITS=MAX_VISITS)
        )
        for workflow in (Road, Loop, Net):
            self.world.squidmesh.register(workflow)
        with db.engine.begin() as connection:
            for table in reversed(db.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        self.clock: FrozenClock = self.stack.enter_context(freeze(NOON))
        self.known: dict[str, Reference] = {}
        self.trouble: list[BaseException] = []
        PLAY.clear()

    def teardown(self) -> None:
        self.stack.close()

    # Time.

    def pass_time(self, seconds: float = 1) -> None:
        """Move time on, so that no two things happen at the same moment."""
        self.clock.advance(seconds=seconds)
        for reference in self.known.values():
            reference.now = (self.clock.now - NOON).total_seconds()

    @rule(seconds=st.sampled_from([10, 30, 60]))
    def time_passes(self, seconds):
        self.pass_time(seconds)

    @rule()
    def somebody_ticks(self):
        self.pass_time()
        self.look()
        self.compare_all()

    def look(self) -> None:
        expired = sum(reference.expire() for reference in self.known.values())
        assert tick().expired == expired

    # Runs.

    @initialize(target=runs, name=st.sampled_from(sorted(SHAPES)))
    def first_run(self, name):
        return self.begin(name)

    @precondition(lambda self: len(self.known) < MOST_RUNS)
    @rule(target=runs, name=st.sampled_from(sorted(SHAPES)))
    def another_run(self, name):
        return self.begin(name)

    def begin(self, name: str) -> str:
        run = self.world.squidmesh.start_run(name)
        self.known[run.id] = Reference(SHAPES[name], (self.clock.now - NOON).total_seconds())
        self.compare(run.id)
        return run.id

    @precondition(lambda self: 0 < len(self.known) < MOST_RUNS)
    @rule(target=runs, source=runs)
    def replay(self, source):
        run = self.world.squidmesh.replay_run(source)
        assert run.replayed_from_run_id == source
        reference = Reference(self.known[source].shape, self.known[source].now)
        reference.audit.append(("replayed", None))
        self.known[run.id] = reference
        self.compare_all()
        return run.id

    # Messages.

    @rule(run_id=runs, name=st.sampled_from(NAMES))
    def any_message(self, run_id, name):
        self.pass_time()
        self.send(run_id, name, None, "ok")
        self.compare(run_id)

    @rule(
        run_id=runs,
        choice=st.integers(0, 5),
        before=st.sampled_from(BEFORE),
        how=st.sampled_from(ENDS),
    )
    def message_that_is_due(self, run_id, choice, before, how):
        names = list(ready(self.known[run_id]))
        if names:
            self.pass_time()
            self.send(run_id, names[choice % len(names)], before, how)
            self.compare_all()

    @rule(run_id=runs, choice=st.integers(0, 5))
    def duplicate_message(self, run_id, choice):
        entered = self.known[run_id].entered
        self.pass_time()
        self.send(run_id, entered[choice % len(entered)].step, None, "fail")
        self.compare(run_id)

    def send(self, run_id: str, name: str, before: str | None, how: str) -> None:
        """Deliver a message, and let the step function it may execute do as told."""
        reference = self.known[run_id]
        expected = reference.word_for(name)
        claim = reference.take(name) if expected == "executed" else None
        is_function = claim is not None and reference.shape[name].kind == "step"
        if is_function:
            PLAY.append(lambda context: self.act(context, claim, before, how))
        word = deliver(run_id, name)
        if self.trouble:
            raise self.trouble[0]
        assert word == expected
        if claim is not None and not is_function:
            reference.settle(claim, "ok", {})

    def act(self, context, claim, before, how):
        """Be the step function."""
        reference = self.known[context.run_id]
        entered = claim[0]
        try:
            assert context.attempt == entered.attempts[-1][0]
            self.meanwhile(context.run_id, before)
        except BaseException as error:
            # Whatever a step raises is its outcome: the test has to hear of it otherwise.
            self.trouble.append(error)
            raise
        if how == "abandon":
            abandon(context.run_id, context.step)
        output = output_of(context.step, entered.visit, context.attempt)
        reference.settle(claim, how, output)
        if how == "fail":
            raise OSError("down")
        if how == "fatal":
            raise StepFailed("no")
        return output

    def meanwhile(self, run_id: str, what: str | None) -> None:
        if what == "cancel":
            self.end(run_id)
        elif what == "overtake":
            self.pass_time(60)
            self.look()
        elif what == "other":
            for name in list(ready(self.known[run_id]))[:1]:
                self.pass_time()
                self.send(run_id, name, None, "ok")
        self.compare(run_id)

    @precondition(lambda self: any(not known.is_dependency for known in self.known.values()))
    @rule(run_id=runs)
    def worker_goes_on_inline(self, run_id):
        """One message, and a worker that goes on with every next step it can execute."""
        reference = self.known[run_id]
        names = list(ready(reference))
        if reference.is_dependency or not names:
            return
        self.pass_time()
        word = (
            state()
            .engine()
            .deliver(run_id, names[0], may_continue=lambda: True, after_commit=ignore)
        )
        assert word == "executed"
        is_first = True
        while (name := next(ready(reference), None)) is not None:
            if not is_first and reference.shape[name].kind not in ("step", "log"):
                break
            is_first = False
            claim = reference.take(name)
            if claim is not None:
                reference.settle(claim, "ok", self.usual_output(reference, claim[0]))
        self.compare(run_id)

    @staticmethod
    def usual_output(reference, entered):
        if reference.shape[entered.step].kind != "step":
            return {}
        return output_of(entered.step, entered.visit, len(entered.attempts))

    @rule()
    def everything_that_is_ready_is_done(self):
        self.pass_time()
        made = run_until_idle()
        expected = 0
        for reference in self.known.values():
            while (name := next(ready(reference), None)) is not None:
                claim = reference.take(name)
                if claim is not None:
                    expected += 1
                    reference.settle(claim, "ok", self.usual_output(reference, claim[0]))
        assert made == expected
        self.compare_all()

    # People.

    @rule(run_id=runs, verb=st.sampled_from(["unblock", "approve", "reject"]))
    def somebody_decides(self, run_id, verb):
        self.pass_time()
        call = getattr(self.world.squidmesh, f"{verb}_run")
        self.both(lambda: call(run_id, actor="ada"), lambda: self.known[run_id].decide(verb))
        self.compare(run_id)

    @rule(run_id=runs)
    def somebody_does_what_is_offered(self, run_id):
        verbs = sorted(self.known[run_id].allowed() & {"unblock", "approve", "reject"})
        if verbs:
            self.somebody_decides(run_id, verbs[0])

    @rule(run_id=runs)
    def somebody_cancels(self, run_id):
        self.pass_time()
        self.end(run_id)
        self.compare(run_id)

    def end(self, run_id: str) -> None:
        self.both(
            lambda: self.world.squidmesh.cancel_run(run_id, actor="ada"),
            self.known[run_id].cancel,
        )

    def both(self, real: Callable[[], object], modelled: Callable[[], object]) -> None:
        """Make a call on both sides; both go through, or both refuse it with the same facts."""
        expected: tuple[str, ...] | None = None
        actual: tuple[str, ...] | None = None
        try:
            modelled()
        except Refused as refused:
            expected = refused.how
        try:
            real()
        except InvalidTransition as refused:
            actual = ("InvalidTransition", refused.current, refused.requested)
        except WrongStepKind as refused:
            actual = ("WrongStepKind", refused.step, refused.kind)
        assert actual == expected

    # What is seen.

    def compare_all(self) -> None:
        for run_id in self.known:
            self.compare(run_id)

    def compare(self, run_id: str) -> None:
        reference = self.known[run_id]
        run = self.world.squidmesh.inspect_run(run_id, include_history=True)
        assert seen(run, ordered=not reference.is_dependency) == expected_of(reference)
        explanation = self.world.squidmesh.explain_run(run_id)
        verbs = {action.removesuffix("_run") for action in explanation.next_actions}
        assert verbs - WAITING == reference.allowed()
        graph = self.world.squidmesh.inspect_run_graph(run_id)
        current = {node.id for node in graph.nodes if node.current}
        assert current == {entered.step for entered in reference.active}


WAITING = {
    "wait_for_step",
    "wait_for_retry",
    "wait_for_dependencies",
    "wait_for_cancellation",
}


def seen(run: Run, *, ordered: bool) -> dict[str, Any]:
    """Return everything the reference knows about a run, as it is read."""
    error = run.last_error
    step_runs = [
        (
            each.step,
            each.visit,
            each.status,
            each.outcome,
            [(attempt.number, attempt.status) for attempt in each.attempts],
        )
        for each in run.step_runs or ()
    ]
    context = dict(run.context)
    if "decision" in context:
        context["decision"] = context["decision"]["decision"]
    return {
        "status": run.status,
        "current_step": run.current_step,
        "last_error": None if error is None else (error["code"], error["step"]),
        "is_finished": run.finished_at is not None,
        "context": context,
        "steps": [(each.step, each.status, each.visit) for each in run.steps or ()],
        # Branches that begin at the same moment have no order among them.
        "step_runs": step_runs if ordered else sorted(step_runs),
        "audit": [(event.type, event.step) for event in run.audit_events or ()],
    }


def expected_of(reference: Reference) -> dict[str, Any]:
    """Return the same as the reference has it."""
    step_runs = [
        (each.step, each.visit, each.status, each.outcome, each.attempts)
        for each in reference.entered
    ]
    steps = []
    for name in reference.shape:
        latest = reference.latest(name)
        status, visit = ("not_started", 0) if latest is None else (latest.status, latest.visit)
        steps.append((name, status, visit))
    return {
        "status": reference.status,
        "current_step": reference.current_step,
        "last_error": reference.last_error,
        "is_finished": reference.status in TERMINAL,
        "context": reference.context,
        "steps": steps,
        "step_runs": sorted(step_runs) if reference.is_dependency else step_runs,
        "audit": reference.audit,
    }


@pytest.fixture(scope="module")
def model_url(databases: Databases) -> Iterator[str]:
    url = databases.create(prepare)
    yield url
    databases.drop(url)


def test_public_api_does_what_the_reference_says(model_url):
    machine = type("ApiHere", (Api,), {"url": model_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            # A server answers more slowly than a file; what it has to show is the same.
            max_examples=50 if model_url.startswith("sqlite") else 20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

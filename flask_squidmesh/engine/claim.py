"""Claims a ready step for this worker: one guarded transaction.

The first claim of a run is tried in one statement before (`first_claim`).

A message is only a hint to look at the database. Whatever it says, the run's
lock is taken, the row is read, and the guarded write decides; every reason for
doing nothing has its word.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.engine.apply import apply
from flask_squidmesh.engine.expire import abandon
from flask_squidmesh.engine.first_claim import claim_first
from flask_squidmesh.engine.memory import Held, Memory
from flask_squidmesh.engine.news import NOTHING, News
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.engine.scene import Scene
from flask_squidmesh.engine.waking import wake_more
from flask_squidmesh.ids import parse_id
from flask_squidmesh.lifecycle.decide import Refused, decide
from flask_squidmesh.lifecycle.facts import ENDED, Facts, Taken
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import branches, history, runs, transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.runs import RunRow

UNAVAILABLE_GRACE: Final = timedelta(seconds=30)
"""How long after a step was found without its code another worker is asked."""


@dataclass(frozen=True, slots=True)
class Taking:
    """What came of a message: the word for it, the claim if there is one, the news."""

    word: str
    held: Held | None = None
    news: News = NOTHING


def take(runtime: Runtime, run_id: str, step: str) -> Taking:
    """Claim *step* of the run if it is ready, and return what came of it.

    Words: `executed` (claimed, or a wait or pause that began), `unknown`,
    `run_not_active`, `finished`, `not_ready`, `not_due`, `already_running`.
    """
    known_id = parse_id(run_id)
    if known_id is None or not _is_name(step):
        return Taking("unknown")
    # A claim whose commit was made although its answer was lost finds the row running and its
    # own token in place of the old one: its lease runs out, and the ticker brings it back.
    first = claim_first(runtime, known_id, step)
    if first is not None:
        held, news = first
        return Taking("executed", held, news)
    return transaction.run(runtime.database, lambda c: _take(runtime, c, known_id, step))


def _is_name(step: object) -> bool:
    # A message may be forged, and the database refuses NUL characters in text.
    return isinstance(step, str) and step.isidentifier()


def _take(runtime: Runtime, connection: transaction.Connection, run_id: str, step: str) -> Taking:
    locked = runs.lock(connection, run_id)
    run = runs.find(connection, run_id) if locked is not None else None
    if locked is None or run is None:
        return Taking("unknown")
    definition = runtime.definition(connection, run)
    branch = branches.find(connection, run_id, step, slot=definition.slot(step))
    scene = Scene(
        runtime=runtime,
        connection=connection,
        run=run,
        definition=definition,
        status=locked.status,
        now=runtime.clock.judge(locked.database_time),
        branch=branch,
        ordinal=0 if branch is None else branch.horizon,
    )
    if branch is None:
        return _skip(scene, step, _why_absent(scene, step))
    if _is_ending(scene):
        return _skip(scene, step, "run_not_active")
    if branch.status == StepRunStatus.RUNNING and _is_stale(scene, branch):
        abandon(scene)
        scene.branch = branch = branches.find_in_slot(connection, run_id, branch.slot)
    word = "finished" if branch is None else _why_not_ready(scene, branch)
    if branch is None or word is not None:
        return _skip(scene, step, word or "finished")
    return _claim(scene, branch)


def _skip(scene: Scene, step: str, reason: str) -> Taking:
    """Do nothing, and say why."""
    attempt = 0 if scene.branch is None else scene.branch.attempt
    scene.tell_of_run("step_skipped", step=step, attempt=attempt, reason=reason)
    return Taking(reason, news=scene.news())


def _is_stale(scene: Scene, branch: Branch) -> bool:
    timeout = scene.runtime.settings.stale_step_timeout
    return timeout is not None and branch.touched_at <= scene.now - timedelta(seconds=timeout)


def _why_absent(scene: Scene, step: str) -> str:
    if step not in scene.definition.steps_by_name:
        return "unknown"
    if history.has_step_run(scene.connection, scene.run.id, step):
        return "finished"
    return "run_not_active" if _is_ending(scene) else "not_ready"


def _is_ending(scene: Scene) -> bool:
    return scene.status in ENDED or scene.status == RunStatus.CANCELLING


def _why_not_ready(scene: Scene, branch: Branch) -> str | None:
    """Return why the branch can not be claimed now, None when it can."""
    if branch.status == StepRunStatus.RUNNING:
        return "already_running"
    if branch.status == StepRunStatus.PAUSED:
        return "not_ready"
    if branch.status != StepRunStatus.PENDING and branch.ready_at > scene.now:
        return "not_due"
    code = scene.runtime.code(scene.run.workflow)
    kind = scene.definition.steps_by_name[branch.step].kind
    executable = scene.runtime.executable_steps(scene.definition, code)
    if code is None or (kind == "step" and branch.step not in executable):
        # The message was not lost, so an empty queue is no reason to send it again at once.
        branches.put_off(scene.connection, branch, until=scene.now + UNAVAILABLE_GRACE)
        return "not_ready"
    return None


def _claim(scene: Scene, branch: Branch) -> Taking:
    runtime, definition = scene.runtime, scene.definition
    facts = Facts(
        definition=definition,
        limits=runtime.limits,
        run=scene.status,
        step=branch.step,
        visit=branch.visit,
        status=branch.status,
        attempt=branch.attempt,
        lost=branch.lost,
    )
    try:
        apply(scene, decide(facts, Taken()))
    except Refused:
        return _skip(scene, branch.step, "run_not_active")
    code = runtime.code(scene.run.workflow)
    if scene.entered is None or code is None:
        return Taking("executed", news=scene.news())
    wake_more(scene)
    held = Held(
        run=scene.run,
        definition=definition,
        code=code,
        inline=runtime.executable_steps(definition, code),
        branch=scene.entered,
        memory=load_memory(scene.connection, scene.run, definition, scene.entered),
        lease_until=scene.entered.due_at or scene.now,
        renewed=runtime.clock.monotonic(),
    )
    return Taking("executed", held, scene.news())


def load_memory(
    connection: transaction.Connection, run: RunRow, definition: Definition, branch: Branch
) -> Memory:
    """Return the run as the step run in *branch* sees it."""
    memory = Memory(payload=documents.decode(run.payload))
    if branch.horizon > 0:
        ended = history.step_runs_between(connection, run.id, after=0, up_to=branch.horizon)
        memory.add(definition, ended)
        if ended and ended[-1].ordinal == branch.horizon:
            memory.failure = failure_behind(connection, run.id, ended[-1])
    memory.ordinal = branch.horizon
    if definition.mode == "transition":
        memory.ordinal = history.last_ordinal(connection, run.id)
    memory.visits[branch.step] = max(memory.visits.get(branch.step, 0), branch.visit)
    return memory


def failure_behind(
    connection: transaction.Connection, run_id: str, previous: history.StepRunRow
) -> dict[str, object] | None:
    """Return the error of the step run whose error route leads here, None on another route."""
    if previous.outcome != "error":
        return None
    attempt = history.find_attempt(connection, run_id, previous.ordinal)
    if attempt is None or attempt.error is None:
        return None
    error: dict[str, object] = documents.decode(attempt.error)
    return {**error, "step": previous.step}

"""Claims the step with which a run begins, in one statement where the database can.

Where `decide` would claim the step and set the run going, and nothing else,
which `beginnings` knows, `store.claiming` does that in one statement. When it
finds anything else, the general path of `claim` takes over; both leave the same
rows and the same news. A worker whose run is over has the first claim of the
next one made by the statement that ends the last (`straight`).
"""

from __future__ import annotations

from datetime import timedelta

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.engine.memory import Held, Memory
from flask_squidmesh.engine.news import News, Notice, about
from flask_squidmesh.engine.runtime import Runtime, worker_name
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import claiming, prepared
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.claiming import FirstClaim, Wanted
from flask_squidmesh.store.runs import RunRow


def claim_first(runtime: Runtime, run_id: str, step: str) -> tuple[Held, News] | None:
    """Claim *step* if its run begins with it and nobody did before; None: nothing was done."""
    wish = wanted(runtime, run_id, step)
    if wish is None:
        return None
    through = prepared.Alone(runtime.database)
    found = claiming.claim_first(through, wish, at=runtime.clock.frozen_at)
    return None if found is None else claimed(runtime, wish, found)


def wanted(runtime: Runtime, run_id: str, step: str) -> Wanted | None:
    """Return what to claim for *step*; None if no run begins with it, or not in one statement."""
    known = runtime.beginnings.with_step(step)
    if not known or not prepared.is_possible(runtime.database):
        return None
    lease = timedelta(seconds=runtime.settings.lease_ttl)
    return Wanted(run_id, step, tuple(known), worker_name(), lease)


def claimed(runtime: Runtime, wish: Wanted, found: FirstClaim) -> tuple[Held, News]:
    """Return the claim that *wish* has led to, once it is committed."""
    code = runtime.beginnings.with_step(wish.step)[found.fingerprint]
    held = _held(runtime, code, found, _branch(wish, found))
    return held, _news(held, found)


def _held(runtime: Runtime, code: WorkflowCode, found: FirstClaim, branch: Branch) -> Held:
    definition = code.definition
    run = RunRow(
        id=branch.run_id,
        workflow=definition.name,
        fingerprint=found.fingerprint,
        trigger=found.trigger,
        payload=found.payload,
        schedule=found.schedule,
        cron_window=found.cron_window,
        idempotency_key=found.idempotency_key,
        request_digest=found.request_digest,
        replayed_from_run_id=found.replayed_from_run_id,
        created_at=found.run_created_at,
    )
    return Held(
        run=run,
        definition=definition,
        code=code,
        inline=runtime.executable_steps(definition, code),
        branch=branch,
        memory=Memory(payload=documents.decode(found.payload), visits={branch.step: branch.visit}),
        lease_until=found.due_at,
        renewed=runtime.clock.monotonic(),
    )


def _branch(wish: Wanted, found: FirstClaim) -> Branch:
    return Branch(
        run_id=wish.run_id,
        slot=0,
        step=wish.step,
        visit=1,
        status=StepRunStatus.RUNNING,
        attempt=1,
        lost=0,
        fencing_token=1,
        horizon=0,
        resends=0,
        created_at=found.created_at,
        ready_at=found.ready_at,
        due_at=found.due_at,
        rung_at=found.rung_at,
        started_at=found.now,
        touched_at=found.now,
        worker=wish.worker,
    )


def _news(held: Held, found: FirstClaim) -> News:
    run, branch = held.run, held.branch
    common = about(run, RunStatus.RUNNING, current_step=branch.step)
    started = Notice("step_started", {**common, "step": branch.step, "attempt": branch.attempt})
    if found.before == RunStatus.RUNNING:
        return News(notices=(started,))
    moved = {"from_status": found.before.value, "to_status": RunStatus.RUNNING.value}
    return News(notices=(started, Notice("run_transition", {**common, **moved})))

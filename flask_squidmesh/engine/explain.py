"""Why is a run where it is, and what can be done? A pure read, in the contract's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.engine.inspect import load_run
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.lifecycle.facts import ENDED
from flask_squidmesh.lifecycle.states import RunStatus, StepRunStatus
from flask_squidmesh.store import branches, dialect, history, transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.types import Explanation, Run, StepState

ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "paused_for_manual_action": ("unblock_run", "cancel_run"),
    "paused_for_approval": ("approve_run", "reject_run", "cancel_run"),
    "definition_unavailable": ("cancel_run",),
    "worker_lost": ("wait_for_step", "cancel_run"),
    "step_running": ("wait_for_step", "cancel_run"),
    "pending_dispatch": ("wait_for_step", "cancel_run"),
    "waiting_for_retry": ("wait_for_retry", "cancel_run"),
    "waiting_until": ("wait_for_step", "cancel_run"),
    "waiting_for_dependencies": ("wait_for_dependencies", "cancel_run"),
    "cancelling": ("wait_for_cancellation",),
    "retry_exhausted": ("replay_run",),
    "step_failed": ("replay_run",),
    "cancelled": ("replay_run",),
    "completed": ("replay_run",),
}
"""What can be done, by reason. The first nine stand in the order in which they matter."""

_ORDER: Final = {reason: place for place, reason in enumerate(ACTIONS)}


@dataclass(frozen=True, slots=True)
class _Finding:
    """Why one step does not move."""

    step: str | None
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """Everything an explanation is told from."""

    run: Run
    definition: Definition
    active: list[Branch]
    errors: Mapping[tuple[str, int], Any]
    has_workflow: bool
    executable: frozenset[str]
    now: datetime

    @cached_property
    def states(self) -> Mapping[str, StepState]:
        return {state.step: state for state in self.run.steps or ()}


def explain(runtime: Runtime, run_id: str) -> Explanation:
    """Return why the run is where it is.

    Raises:
        RunNotFound: There is no such run.
    """
    return tell(transaction.read(runtime.database, lambda c: read(runtime, c, run_id)))


def tell(found: Known) -> Explanation:
    """Return the explanation for what is known about a run."""
    findings = _findings(found)
    first = findings[0]
    details = dict(first.details)
    if len(findings) > 1:
        details["steps"] = [
            {"step": finding.step, "reason": finding.reason, "details": finding.details}
            for finding in findings
        ]
    is_over = RunStatus(found.run.status) in ENDED
    return Explanation(
        status=found.run.status,
        reason=first.reason,
        step=first.step,
        details=details,
        next_actions=() if is_over and not found.has_workflow else ACTIONS[first.reason],
        evidence=_evidence(found, first.step),
    )


def read(runtime: Runtime, connection: transaction.Connection, run_id: str) -> Known:
    """Return what is known about a run, within the transaction of *connection*.

    Raises:
        RunNotFound: There is no such run.
    """
    run = load_run(runtime, connection, run_id, include_history=True)
    definition = runtime.definition_of(connection, run_id)
    code = runtime.code(run.workflow)
    errors = {
        (row.step, row.visit): documents.decode(row.error)
        for row in history.attempts_of(connection, run_id)
        if row.error is not None
    }
    return Known(
        run=run,
        definition=definition,
        active=branches.of_run(connection, run_id),
        errors=errors,
        has_workflow=code is not None,
        executable=runtime.executable_steps(definition, code),
        now=runtime.clock.judge(dialect.time(connection)),
    )


def _findings(found: Known) -> Sequence[_Finding]:
    status = RunStatus(found.run.status)
    if status == RunStatus.FAILED:
        return [_why_failed(found)]
    if status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
        return [_Finding(None, status.value)]
    if status == RunStatus.CANCELLING:
        step = found.active[0].step if found.active else None
        return [_Finding(step, status.value)]
    findings = [_why_active(found, branch) for branch in found.active]
    findings += _why_not_started(found)
    return sorted(findings, key=lambda finding: _ORDER[finding.reason])


def _why_failed(found: Known) -> _Finding:
    error = found.run.last_error or {}
    step = error.get("step")
    details: dict[str, Any] = {"last_error": error}
    spec = found.definition.steps_by_name.get(step or "")
    state = found.states.get(step or "")
    if spec is None or spec.retry is None or state is None or not error.get("retryable"):
        return _Finding(step, "step_failed", details)
    made = max((attempt.number for attempt in state.attempts), default=0)
    if made < spec.retry.max_attempts:
        return _Finding(step, "step_failed", details)
    return _Finding(step, "retry_exhausted", {"max_attempts": spec.retry.max_attempts, **details})


def _why_active(found: Known, branch: Branch) -> _Finding:
    step, kind = branch.step, found.definition.steps_by_name[branch.step].kind
    routes = found.definition.routes
    if branch.status == StepRunStatus.PAUSED:
        if kind == "pause":
            return _Finding(step, "paused_for_manual_action", {"target": routes.get((step, "ok"))})
        targets = {on: routes.get((step, on)) for on in ("ok", "error")}
        return _Finding(step, "paused_for_approval", {"targets": targets})
    if branch.status == StepRunStatus.RUNNING:
        return _why_running(found, branch)
    if not found.has_workflow or (kind == "step" and step not in found.executable):
        missing = "step" if found.has_workflow else "workflow"
        return _Finding(step, "definition_unavailable", {"missing": missing})
    if branch.status == StepRunStatus.PENDING:
        return _Finding(step, "pending_dispatch")
    if branch.status == StepRunStatus.WAITING:
        return _Finding(step, "waiting_until", {"until": branch.ready_at})
    return _Finding(
        step,
        "waiting_for_retry",
        {
            "next_attempt": branch.attempt + 1,
            "retry_at": branch.ready_at,
            "last_error": found.errors.get((step, branch.visit)),
        },
    )


def _why_running(found: Known, branch: Branch) -> _Finding:
    is_silent = branch.due_at is not None and branch.due_at <= found.now
    return _Finding(
        branch.step,
        "worker_lost" if is_silent else "step_running",
        {
            "worker": branch.worker,
            "attempt": branch.attempt,
            "started_at": branch.started_at,
            "lease_expires_at": branch.due_at,
        },
    )


def _why_not_started(found: Known) -> list[_Finding]:
    """Return the joins that wait: in a dependency workflow, all that has not started."""
    if found.definition.mode != "dependency":
        return []
    return [
        _Finding(
            state.step,
            "waiting_for_dependencies",
            {
                "waiting_on": {
                    name: found.states[name].status
                    for name in state.depends_on
                    if found.states[name].status != StepRunStatus.COMPLETED
                }
            },
        )
        for state in found.states.values()
        if state.status == "not_started"
    ]


def _evidence(found: Known, step: str | None) -> dict[str, Any]:
    step_runs = [s for s in found.run.step_runs or () if s.step == step]
    step_run = step_runs[-1] if step_runs else None
    attempts = step_run.attempts if step_run is not None else ()
    spec = found.definition.steps_by_name.get(step or "")
    return {
        "run": found.run.without_history(),
        "step_run": step_run,
        "latest_attempt": attempts[-1] if attempts else None,
        "dependencies": {
            name: found.states[name].status for name in (spec.depends_on if spec else ())
        },
    }

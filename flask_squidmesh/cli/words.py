"""What an explanation means, in sentences, and which commands its next actions are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from flask_squidmesh.cli.output import cell
from flask_squidmesh.types import Explanation

Details = Mapping[str, Any]


def error_in_words(error: Mapping[str, Any] | None) -> str:
    """Return code and message of a stored error."""
    return "" if error is None else cell(f"{error.get('code')}: {error.get('message')}")


def _running(details: Details) -> str:
    return (
        f"attempt {details['attempt']} is executing on {cell(details['worker'])} since "
        f"{cell(details['started_at'])}; its lease runs until {cell(details['lease_expires_at'])}"
    )


def _lost(details: Details) -> str:
    return (
        f"the worker {cell(details['worker'])} of attempt {details['attempt']} is silent since its "
        f"lease ran out at {cell(details['lease_expires_at'])}; the ticker of any worker takes over"
    )


def _retrying(details: Details) -> str:
    return (
        f"attempt {details['next_attempt']} begins at {cell(details['retry_at'])}; the last one "
        f"failed: {error_in_words(details['last_error'])}"
    )


def _waiting_on(details: Details) -> str:
    waiting_on = ", ".join(f"{cell(k)} ({v})" for k, v in details["waiting_on"].items())
    return f"it begins when these have completed: {waiting_on}"


def _unavailable(details: Details) -> str:
    return (
        f"the code of its {details['missing']} is not registered here; deploy it, or list its "
        "module in SQUIDMESH_WORKFLOWS, and the run goes on"
    )


_SENTENCES: Final[dict[str, Callable[[Details], str]]] = {
    "pending_dispatch": lambda _: "it is ready, and waits for a worker",
    "step_running": _running,
    "worker_lost": _lost,
    "waiting_until": lambda details: f"its timer ends at {cell(details['until'])}",
    "waiting_for_dependencies": _waiting_on,
    "waiting_for_retry": _retrying,
    "paused_for_manual_action": lambda details: (
        f"it waits for somebody to unblock it; then comes {cell(details['target'])}"
    ),
    "paused_for_approval": lambda details: (
        f"it waits for a decision; approved it goes to {cell(details['targets']['ok'])}, "
        f"rejected to {cell(details['targets']['error'])}"
    ),
    "definition_unavailable": _unavailable,
    "retry_exhausted": lambda details: (
        f"all {details['max_attempts']} attempts failed, the last one with "
        f"{error_in_words(details['last_error'])}"
    ),
    "step_failed": lambda details: f"it failed: {error_in_words(details['last_error'])}",
    "cancelling": lambda _: "it ends when the step that is executing does",
    "cancelled": lambda _: "somebody has cancelled it",
    "completed": lambda _: "everything is done",
}

_COMMANDS: Final = {
    "unblock_run": "unblock {run}",
    "approve_run": "approve {run} --actor NAME",
    "reject_run": "reject {run} --actor NAME",
    "cancel_run": "cancel {run}",
    "replay_run": "replay {run}",
}


def reasons(explanation: Explanation) -> Iterator[str]:
    """Yield a line for each step that says why it is where it is."""
    several = explanation.details.get("steps")
    if several is None:
        yield _reason(explanation.step, explanation.reason, explanation.details)
        return
    for each in several:
        yield _reason(each["step"], each["reason"], each["details"])


def _reason(step: str | None, reason: str, details: Details) -> str:
    where = "" if step is None else f"{cell(step)}: "
    return f"{where}{_SENTENCES[reason](details)} [{reason}]"


def actions(explanation: Explanation, run_id: str) -> Iterator[str]:
    """Yield the commands that can be given now; waiting needs none."""
    for action in explanation.next_actions:
        if action in _COMMANDS:
            yield f"flask squidmesh {_COMMANDS[action].format(run=run_id)}"


def since(started: datetime, now: datetime) -> str:
    """Return how long ago *started* was, in its largest unit.

    >>> from datetime import UTC, timedelta
    >>> noon = datetime(2026, 11, 2, 12, tzinfo=UTC)
    >>> since(noon, noon + timedelta(minutes=90))
    '1 h'
    """
    seconds = max(0, int((now - started).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"

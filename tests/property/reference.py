"""What the contract says happens to a run, as a small model without a database.

Written from the tables of the specification (run states, what an attempt's end
leads to, what deciding and cancelling do), not from the package: it shares no
code with `flask_squidmesh.lifecycle`. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

LEASE: Final = 60.0
MAX_LOST: Final = 3
MAX_VISITS: Final = 2
TERMINAL: Final = ("completed", "failed", "cancelled")
ACTIVE: Final = ("pending", "waiting", "running", "paused", "retrying")
VERBS: Final = {"unblock": ("pause", "resumed"), "approve": ("approval", "approved")}
VERBS["reject"] = ("approval", "rejected")


@dataclass(frozen=True)
class Declared:
    """One step as it is declared; `retry` is (attempts, seconds between them)."""

    kind: str = "step"
    ok: str | None = None
    error: str | None = None
    after: tuple[str, ...] = ()
    seconds: float = 0.0
    retry: tuple[int, float] | None = None
    at_most_once: bool = False


Shape = dict[str, Declared]


@dataclass
class Entered:
    """One step run; `claim` is raised whenever somebody takes it."""

    step: str
    visit: int
    status: str
    attempts: list[tuple[int, str]] = field(default_factory=list)
    outcome: str | None = None
    ready_at: float = 0.0
    lease_until: float = 0.0
    lost: int = 0
    claim: int = 0
    error: str | None = None
    failed_as: int = 0

    def end_attempt(self, status: str) -> None:
        self.attempts[-1] = (self.attempts[-1][0], status)


class Refused(Exception):
    """The call is refused; `how` is the error and its facts."""

    def __init__(self, *how: str) -> None:
        super().__init__(*how)
        self.how = how


@dataclass
class Reference:
    """One run."""

    shape: Shape
    now: float
    status: str = "pending"
    entered: list[Entered] = field(default_factory=list)
    context: dict[str, Any] = field(default_factory=dict)
    audit: list[tuple[str, str | None]] = field(default_factory=list)
    last_error: tuple[str, str] | None = None
    failures: int = 0

    def __post_init__(self) -> None:
        roots = [name for name, declared in self.shape.items() if not declared.after]
        for name in roots if self.is_dependency else roots[:1]:
            self.entered.append(Entered(name, 1, "pending"))

    @property
    def is_dependency(self) -> bool:
        return any(declared.after for declared in self.shape.values())

    @property
    def active(self) -> list[Entered]:
        return [entered for entered in self.entered if entered.status in ACTIVE]

    @property
    def current_step(self) -> str | None:
        if self.status == "failed":
            return None if self.last_error is None else self.last_error[1]
        if self.is_dependency or not self.active:
            return None
        return self.active[0].step

    def at(self, step: str) -> Entered | None:
        return next((entered for entered in self.active if entered.step == step), None)

    def latest(self, step: str) -> Entered | None:
        return next((each for each in reversed(self.entered) if each.step == step), None)

    def allowed(self) -> set[str]:
        """Return what a person can do now."""
        if self.status in TERMINAL:
            return {"replay"}
        if self.status == "cancelling":
            return set()
        held = [self.shape[each.step].kind for each in self.active if each.status == "paused"]
        answers = {verb for verb, (kind, _) in VERBS.items() if kind in held}
        return answers | {"cancel"}

    # Messages.

    def word_for(self, step: str) -> str:
        """Return what a message about *step* leads to."""
        entered = self.at(step)
        if step not in self.shape:
            return "unknown"
        if entered is None and self.latest(step) is not None:
            return "finished"
        if self.status in (*TERMINAL, "cancelling"):
            return "run_not_active"
        if entered is None or entered.status == "paused":
            return "not_ready"
        if entered.status == "running":
            return "already_running"
        if entered.status != "pending" and entered.ready_at > self.now:
            return "not_due"
        return "executed"

    def take(self, step: str) -> tuple[Entered, int] | None:
        """Claim a ready step; None when that only began a wait or a pause."""
        entered = self.at(step)
        assert entered is not None
        self.status = "running"
        self.last_error = None
        if entered.status == "pending" and self.shape[step].kind in ("wait", "pause", "approval"):
            self._hold(entered)
            return None
        if entered.status != "waiting":
            entered.attempts.append((len(entered.attempts) + 1, "running"))
        entered.status = "running"
        entered.lease_until = self.now + LEASE
        entered.claim += 1
        return entered, entered.claim

    def settle(self, claim: tuple[Entered, int], how: str, output: dict[str, Any]) -> None:
        """End an attempt: `ok`, `fail` (may be retried), `fatal` (may not) or `lost`."""
        entered, token = claim
        if (entered.status, entered.claim) != ("running", token):
            return  # Taken over: nothing of it is kept.
        ended = {"ok": "completed", "lost": "abandoned"}.get(how, "failed")
        entered.end_attempt(ended)
        if self.status != "running":
            entered.status = "cancelled" if how == "lost" else ended
            if self.status == "cancelling" and not self.active:
                self.status = "cancelled"
        elif how == "ok":
            self._leave(entered, "completed", "ok")
            self.context.update(output)
            self._go_on(entered, "ok")
        elif self._has_attempts_left(entered, how):
            self._retry(entered, how)
        else:
            self._fail(entered, how)

    def expire(self) -> int:
        """Take over what ran out of its lease; return how many."""
        silent = [e for e in self.active if e.status == "running" and e.lease_until <= self.now]
        for entered in sorted(silent, key=lambda each: each.lease_until):
            self.settle((entered, entered.claim), "lost", {})
        return len(silent)

    # People.

    def decide(self, verb: str) -> None:
        if self.status != "paused":
            raise Refused("InvalidTransition", self.status, verb)
        (entered,) = self.active
        kind, answer = VERBS[verb]
        if self.shape[entered.step].kind != kind:
            raise Refused("WrongStepKind", entered.step, self.shape[entered.step].kind)
        outcome = "error" if verb == "reject" else "ok"
        entered.end_attempt("completed")
        self.audit.append((answer, entered.step))
        self.status = "running"
        self._leave(entered, "completed", outcome)
        if kind == "approval":
            self.context["decision"] = answer
        self._go_on(entered, outcome)

    def cancel(self) -> None:
        if self.status in (*TERMINAL, "cancelling"):
            raise Refused("InvalidTransition", self.status, "cancel")
        step = None if self.is_dependency else self.current_step
        self._cancel_idle()
        self.status = "cancelling" if self.active else "cancelled"
        self.last_error = None
        self.audit.append(("cancelled", step))

    # What follows.

    def _hold(self, entered: Entered) -> None:
        declared = self.shape[entered.step]
        entered.attempts.append((1, "running"))
        if declared.kind == "wait":
            entered.status = "waiting"
            entered.ready_at = self.now + declared.seconds
        else:
            entered.status = self.status = "paused"
            self.audit.append(("paused", entered.step))

    def _enter(self, step: str) -> None:
        visit = 1 + sum(each.step == step for each in self.entered)
        entered = Entered(step, visit, "pending")
        self.entered.append(entered)
        if self.shape[step].kind in ("wait", "pause", "approval"):
            self._hold(entered)

    def _leave(self, entered: Entered, status: str, outcome: str | None) -> None:
        entered.status = status
        entered.outcome = outcome

    def _go_on(self, entered: Entered, outcome: str) -> None:
        if self.is_dependency:
            self._release()
            return
        declared = self.shape[entered.step]
        target = declared.ok if outcome == "ok" else declared.error
        assert target is not None
        if target == "complete":
            self.status = "completed"
        elif sum(each.step == target for each in self.entered) >= MAX_VISITS:
            self.status, self.last_error = "failed", ("too_many_visits", target)
        else:
            self._enter(target)

    def _release(self) -> None:
        done = {each.step for each in self.entered if each.status == "completed"}
        known = {each.step for each in self.entered}
        ready = [
            name
            for name, declared in self.shape.items()
            if name not in known and done.issuperset(declared.after)
        ]
        for name in ready:
            self._enter(name)
        if len(done) == len(self.shape):
            self.status = "completed"
        elif not ready:
            self._rest()

    def _rest(self) -> None:
        """When nothing moves but retries that wait, the run is retrying."""
        if self.active and all(each.status == "retrying" for each in self.active):
            latest = max(self.active, key=lambda each: each.failed_as)
            self.status, self.last_error = "retrying", (latest.error or "", latest.step)

    def _has_attempts_left(self, entered: Entered, how: str) -> bool:
        declared = self.shape[entered.step]
        if how == "fatal" or (how == "lost" and declared.at_most_once):
            return False
        if declared.retry is None:
            return how == "lost" and entered.lost < MAX_LOST
        return len(entered.attempts) < declared.retry[0]

    def _retry(self, entered: Entered, how: str) -> None:
        declared = self.shape[entered.step]
        self.failures += 1
        entered.status = "retrying"
        entered.error = "worker_lost" if how == "lost" else "exception"
        entered.failed_as = self.failures
        entered.lost += how == "lost"
        entered.ready_at = self.now + (declared.retry[1] if declared.retry is not None else 0)
        self._rest()

    def _fail(self, entered: Entered, how: str) -> None:
        code = {"fatal": "step_failed", "lost": "worker_lost"}.get(how, "exception")
        if self.shape[entered.step].error is not None:
            self._leave(entered, "failed", "error")
            self._go_on(entered, "error")
            return
        self._leave(entered, "failed", None)
        self._cancel_idle()
        self.status, self.last_error = "failed", (code, entered.step)

    def _cancel_idle(self) -> None:
        for entered in self.active:
            if entered.status in ("waiting", "paused"):
                entered.end_attempt("cancelled")
            if entered.status != "running":
                entered.status = "cancelled"


def ready(reference: Reference) -> Iterator[str]:
    """Yield the steps a message would execute."""
    for name in reference.shape:
        if reference.word_for(name) == "executed":
            yield name

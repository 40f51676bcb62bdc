"""The errors a caller of this package can meet.

Every one derives from `SquidMeshError`, carries its facts as attributes, says
what happened and then what to do, and survives pickling: the constructor takes
exactly the facts, and `args` holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_LONGEST = 200
"""Characters of a caller's text that a message repeats."""


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


class SquidMeshError(Exception):
    """Base of every error raised on purpose by this package.

    Its text is made to be shown to a person: what happened, then what to do.
    """

    def __str__(self) -> str:
        return self.message()

    def message(self) -> str:
        """Return the sentence for people: what happened, then what to do."""
        return " ".join(str(argument) for argument in self.args)


class ConfigError(SquidMeshError):
    """The extension is not, or wrongly, configured for this application.

    All problems are reported at once.

    Attributes:
        missing: What nobody provided: `"db"`, `"celery"`.
        invalid: The configuration keys that were refused, with their values.
        reasons: Why, for each name and key of the two.
        summary: The first line of the text, when it is about something else.
    """

    def __init__(
        self,
        missing: Sequence[str] = (),
        invalid: Mapping[str, object] | None = None,
        reasons: Mapping[str, str] | None = None,
        summary: str = "",
    ) -> None:
        self.missing: list[str] = list(missing)
        self.invalid: dict[str, object] = dict(invalid or {})
        self.reasons: dict[str, str] = dict(reasons or {})
        self.summary = summary
        super().__init__(self.missing, self.invalid, self.reasons, self.summary)

    def message(self) -> str:
        lines = [self.summary or "flask_squidmesh is not configured correctly:"]
        lines += [
            f"- missing {name}: {self.reasons.get(name, 'nobody provided it')}"
            for name in self.missing
        ]
        lines += [
            f"- {key} = {_quoted(value)}: {self.reasons.get(key, 'not a valid value')}"
            for key, value in self.invalid.items()
        ]
        return "\n".join(lines)


class Problem(NamedTuple):
    """One thing wrong with a workflow class: where, a stable code, what to do.

    Attributes:
        path: Where, such as `Billing.charge.retry.max_attempts`.
        code: A stable word for programs.
        message: What is wrong and what to do, for people.
    """

    path: str
    code: str
    message: str


class WorkflowDefinitionError(SquidMeshError):
    """A workflow class breaks the rules of declaration; it was not created.

    Raised where the class is created, so when its module is imported.

    Attributes:
        workflow: The name of the class.
        problems: Every `Problem` found, in the order of declaration.
    """

    def __init__(self, workflow: str, problems: Sequence[Problem]) -> None:
        self.workflow = workflow
        self.problems: list[Problem] = [Problem(*problem) for problem in problems]
        super().__init__(workflow, [tuple(problem) for problem in self.problems])

    def message(self) -> str:
        lines = [f"workflow validation failed: {self.workflow}"]
        lines += [f"- {p.path}: {p.message} [{p.code}]" for p in self.problems]
        return "\n".join(lines)


class UnknownWorkflow(SquidMeshError):
    """No workflow of this name is registered with the application.

    Attributes:
        workflow: The name that was asked for.
        known: The names that are registered.
    """

    def __init__(self, workflow: str, known: Sequence[str] = ()) -> None:
        self.workflow = workflow
        self.known = tuple(known)
        super().__init__(workflow, self.known)

    def message(self) -> str:
        known = ", ".join(self.known) or "none"
        return (
            f"no workflow named {_quoted(self.workflow)} is registered (registered: {known}); "
            "list its module in SQUIDMESH_WORKFLOWS or call squidmesh.register() with its class"
        )


class UnknownTrigger(SquidMeshError):
    """The workflow has no trigger of this name.

    Attributes:
        workflow: The workflow's name.
        trigger: The trigger that was asked for.
        known: The triggers it has.
    """

    def __init__(self, workflow: str, trigger: str, known: Sequence[str] = ()) -> None:
        self.workflow = workflow
        self.trigger = trigger
        self.known = tuple(known)
        super().__init__(workflow, trigger, self.known)

    def message(self) -> str:
        return (
            f"workflow {_quoted(self.workflow)} has no trigger {_quoted(self.trigger)}; "
            f"use one of: {', '.join(self.known)}"
        )


class PayloadError(SquidMeshError):
    """A run was refused because its payload breaks the trigger's contract.

    No run exists afterwards: correct the payload and start again, with the same
    idempotency key if there was one.

    Attributes:
        messages: The fields and what is wrong with each, as marshmallow reports it;
            `_schema` is the payload as a whole.
    """

    def __init__(self, messages: Mapping[str, object]) -> None:
        self.messages: dict[str, object] = dict(messages)
        super().__init__(self.messages)

    def message(self) -> str:
        details = "; ".join(f"{field}: {said}" for field, said in self.messages.items())
        return f"the payload was refused ({details}); correct these fields and start the run again"


class InvalidRunId(SquidMeshError):
    """The given text is not the form of a run id (a UUID).

    Attributes:
        run_id: What was given.
    """

    def __init__(self, run_id: object) -> None:
        self.run_id = run_id
        super().__init__(run_id)

    def message(self) -> str:
        return (
            f"{_quoted(self.run_id)} is not a run id; pass the id of a run as start_run returned it"
        )


class RunNotFound(SquidMeshError):
    """No run has this id in this application's database.

    Attributes:
        run_id: The id.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(run_id)

    def message(self) -> str:
        return f"no run {self.run_id} exists here; check the id and the database it was started in"


class InvalidTransition(SquidMeshError):
    """The run's status does not allow what was asked; nothing was changed.

    Somebody else may have decided first.

    Attributes:
        current: The status the run has.
        requested: What was asked: `"approve"`, `"reject"`, `"unblock"` or `"cancel"`.
    """

    def __init__(self, current: str, requested: str) -> None:
        self.current = current
        self.requested = requested
        super().__init__(current, requested)

    def message(self) -> str:
        return (
            f"cannot {self.requested} a run that is {self.current}; "
            "read it again with explain_run to see what it allows now"
        )


class WrongStepKind(SquidMeshError):
    """The paused step is of another kind than the call is made for.

    Attributes:
        step: The step at which the run stands.
        kind: What that step is: `"pause"` or `"approval"`.
    """

    def __init__(self, step: str, kind: str) -> None:
        self.step = step
        self.kind = kind
        super().__init__(step, kind)

    def message(self) -> str:
        remedy = "use approve_run or reject_run" if self.kind == "approval" else "use unblock_run"
        return f"step {_quoted(self.step)} is of kind {self.kind!r}; {remedy}"


class InvalidDecision(SquidMeshError):
    """Actor, comment or metadata of a decision is not acceptable.

    Nothing was decided.

    Attributes:
        errors: Every bad field (`actor`, `comment`, `metadata`) and what it must be.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors: dict[str, str] = dict(errors)
        super().__init__(self.errors)

    def message(self) -> str:
        details = "; ".join(f"{field} {said}" for field, said in self.errors.items())
        return f"the decision was refused: {details}"


class IdempotencyConflict(SquidMeshError):
    """The idempotency key was used before for a different request; nothing was changed.

    Attributes:
        workflow: The workflow's name.
        key: The idempotency key.
        run_id: The run that holds the key: started with it, or decided about.
    """

    def __init__(self, workflow: str, key: str, run_id: str) -> None:
        self.workflow = workflow
        self.key = key
        self.run_id = run_id
        super().__init__(workflow, key, run_id)

    def message(self) -> str:
        return (
            f"idempotency key {_quoted(self.key)} of workflow {_quoted(self.workflow)} belongs to "
            f"another request, for run {self.run_id}; use a new key for what is not a repetition"
        )


class DocumentTooLarge(SquidMeshError):
    """A document is larger than SQUIDMESH_MAX_DOCUMENT_BYTES; nothing was stored.

    Attributes:
        what: Which document, such as `"payload"`.
        size: How many bytes its JSON has.
        limit: How many it may have.
    """

    def __init__(self, what: str, size: int, limit: int) -> None:
        self.what = what
        self.size = size
        self.limit = limit
        super().__init__(what, size, limit)

    def message(self) -> str:
        return (
            f"the {self.what} has {self.size} bytes, more than the {self.limit} allowed; store "
            "large data elsewhere and pass a reference, or raise SQUIDMESH_MAX_DOCUMENT_BYTES"
        )


class DefinitionUnavailable(SquidMeshError):
    """The call needs the workflow's code, and it is not registered here.

    Attributes:
        workflow: The workflow's name.
    """

    def __init__(self, workflow: str) -> None:
        self.workflow = workflow
        super().__init__(workflow)

    def message(self) -> str:
        return (
            f"workflow {_quoted(self.workflow)} is not registered in this application; "
            "deploy its code or list its module in SQUIDMESH_WORKFLOWS, then try again"
        )


class StepFailed(SquidMeshError):
    """Raised by a step function: fail for good, whatever the retry policy says.

    The run takes the step's error route, and fails without one.

    Args:
        message: What happened, for people.
        code: A word for programs, kept with the error; `step_failed` without one.
        details: Any JSON value, kept with the error.
    """

    def __init__(self, message: str, code: str | None = None, details: object = None) -> None:
        self.text = message
        self.code = code
        self.details = details
        super().__init__(message, code, details)

    def message(self) -> str:
        return self.text


class RetryStep(SquidMeshError):
    """Raised by a step function: try again, if the retry policy has attempts left.

    Without a policy, or with no attempt left, the step has failed.

    Args:
        message: What happened, for people.
        delay: Seconds until the next attempt, in place of the policy's backoff.
    """

    def __init__(self, message: str, delay: float | None = None) -> None:
        self.text = message
        self.delay = delay
        super().__init__(message, delay)

    def message(self) -> str:
        return self.text


class ToolError(SquidMeshError):
    """A tool did not do what it was asked for; see `flask_squidmesh.tools`.

    Raised in a step, it is retried only if it is retryable.

    Args:
        adapter: The name of the tool.
        kind: A stable word for what went wrong, such as `"timeout"`.
        message: What happened, for people.
        details: JSON data about it, or None.
        retryable: Whether trying again can help.
    """

    def __init__(
        self,
        adapter: str,
        kind: str,
        message: str,
        details: object = None,
        retryable: bool = False,  # noqa: FBT001, FBT002  # a field of the error, named by the contract
    ) -> None:
        self.adapter = adapter
        self.kind = kind
        self.text = message
        self.details = details
        self.retryable = retryable
        super().__init__(adapter, kind, message, details, retryable)

    def message(self) -> str:
        return f"{self.adapter}: {self.kind}: {self.text}"

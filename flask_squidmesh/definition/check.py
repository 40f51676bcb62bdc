"""Every rule a workflow class must keep, checked at once.

One small function per rule over the draft, each yielding what it finds; none
depends on another having passed, and none raises, whatever was written. The
rules about how steps hang together are in `graph`, those about triggers in
`triggers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, get_args

from flask_squidmesh.definition import graph, triggers
from flask_squidmesh.definition.declarations import LogLevel, Step
from flask_squidmesh.definition.draft import Broken, Draft
from flask_squidmesh.definition.findings import (
    MAX_NAME,
    MAX_SECONDS,
    Finding,
    is_number,
    is_seconds,
    is_text,
)
from flask_squidmesh.definition.spec import BackoffSpec, RetrySpec
from flask_squidmesh.exceptions import Problem, WorkflowDefinitionError

RESERVED: Final = frozenset({"name", "version", "transitions", "definition", "complete"})
"""Names no step or trigger may have; so are all that start with an underscore."""

_LEVELS: Final = get_args(LogLevel)


def check(draft: Draft) -> None:
    """Raise `WorkflowDefinitionError` with all problems of *draft*, if it has any."""
    findings = [finding for rule in _RULES for finding in rule(draft)]
    if not findings:
        return
    places = {name: place for place, name in enumerate(draft.declared)}
    # The class as a whole first, then declarations as they stand, the transitions last.
    findings.sort(key=lambda f: places.get(f.subject, len(places) if f.subject else -1))
    raise WorkflowDefinitionError(
        draft.class_name, [_problem(draft.class_name, finding) for finding in findings]
    )


def _problem(class_name: str, finding: Finding) -> Problem:
    path = ".".join(part for part in (class_name, finding.subject, finding.part) if part)
    return Problem(path, finding.code, finding.message)


def _class_attributes(draft: Draft) -> Iterator[Finding]:
    name, version = draft.name, draft.version
    if not is_text(name) or "/" in str(name) or len(str(name)) > MAX_NAME:
        yield Finding(
            "",
            "name",
            "invalid_name",
            f"a workflow's name is text without a slash, at most {MAX_NAME} characters",
        )
    if version is not None and not (is_text(version) and len(str(version)) <= MAX_NAME):
        yield Finding(
            "",
            "version",
            "invalid_version",
            f"version is a label: text of at most {MAX_NAME} characters; write it in quotes",
        )


def _something_declared(draft: Draft) -> Iterator[Finding]:
    if not draft.triggers:
        yield Finding(
            "", "", "no_trigger", "no trigger is declared; add one with manual() or cron()"
        )
    if not draft.steps:
        yield Finding("", "", "no_step", "no step is declared; add one with step()")


def _names(draft: Draft) -> Iterator[Finding]:
    for name in draft.rebound:
        yield Finding(
            name,
            "",
            "name_bound_twice",
            f"{name!r} is bound twice in the class body; give each step and trigger its own name",
        )
    for name in draft.declared:
        if name in RESERVED or name.startswith("_"):
            yield Finding(
                name,
                "",
                "reserved_name",
                f"{name!r} is reserved ({', '.join(sorted(RESERVED))} and names that start with "
                "an underscore are); choose another name",
            )
        elif len(name) > MAX_NAME:
            yield Finding(
                name, "", "invalid_name", f"the name is longer than {MAX_NAME} characters"
            )
    for name in draft.misused:
        yield Finding(
            name,
            "",
            "reserved_name",
            f"{name!r} is reserved for what the class itself provides; choose another name",
        )
    for names in draft.aliases.values():
        if len(names) > 1:
            yield Finding(
                names[1],
                "",
                "declared_twice",
                f"{names[1]!r} and {names[0]!r} are the same declaration; declare each on its own",
            )


def _functions(draft: Draft) -> Iterator[Finding]:
    for name, parameters in draft.parameters.items():
        if isinstance(parameters, Broken):
            yield Finding(
                name,
                "function",
                "invalid_function",
                f"step {name!r} can not be called: {parameters.reason}; "
                "pass an ordinary function to step()",
            )


def _step_schemas(draft: Draft) -> Iterator[Finding]:
    for part, schemas in (
        ("input_schema", draft.input_schemas),
        ("output_schema", draft.output_schemas),
    ):
        for name, schema in schemas.items():
            if isinstance(schema, Broken):
                yield Finding(
                    name,
                    part,
                    "invalid_schema",
                    f"{part} of step {name!r}: {schema.reason}; pass a marshmallow Schema",
                )


def _inputs(draft: Draft) -> Iterator[Finding]:
    for name, step in draft.steps.items():
        reason = None if step.input is None else _input_fault(step.input)
        if reason is not None:
            yield Finding(
                name,
                "input",
                "invalid_input",
                f"input of step {name!r} {reason}; write a list of keys such as ['invoice'], "
                "or new names with their paths such as {'account': 'invoice.account.id'}",
            )


def _input_fault(written: object) -> str | None:
    if isinstance(written, Mapping):
        return _paths_fault(written) if written else "is empty"
    if isinstance(written, (list, tuple)):
        return _keys_fault(written) if written else "is empty"
    return "is neither a list nor a mapping"


def _paths_fault(paths: Mapping[Any, Any]) -> str | None:
    if not all(is_text(target) for target in paths):
        return "has a name that is not text"
    if not all(isinstance(path, str) and all(path.split(".")) for path in paths.values()):
        return "has a path that is not dotted text"
    return None


def _keys_fault(keys: Sequence[Any]) -> str | None:
    if not all(is_text(key) for key in keys):
        return "has a key that is not text"
    return "names a key twice" if len(set(keys)) < len(keys) else None


def _outputs(draft: Draft) -> Iterator[Finding]:
    for name, step in draft.steps.items():
        if step.output is not None and not is_text(step.output):
            yield Finding(
                name,
                "output",
                "invalid_output",
                f"output of step {name!r} is the key its result is stored under: "
                "write it as text, or leave it out to merge a mapping",
            )


def _switches(draft: Draft) -> Iterator[Finding]:
    for name, step in draft.steps.items():
        for part, value in (
            ("transaction", step.transaction),
            ("at_most_once", step.at_most_once),
        ):
            if not isinstance(value, bool):
                yield Finding(
                    name, part, "invalid_option", f"{part} of step {name!r} is True or False"
                )


def _waits(draft: Draft) -> Iterator[Finding]:
    for name, step in _of_kind(draft, "wait"):
        duration, seconds = step.options["duration"], step.options["seconds"]
        if duration is not None and seconds is not None:
            fault = "has two durations"
        elif not is_seconds(wait_seconds(step)):
            fault = "has no positive duration (of at most a hundred years)"
        else:
            continue
        yield Finding(
            name,
            "",
            "invalid_wait",
            f"wait {name!r} {fault}; write wait(seconds=5) or wait(timedelta(days=3))",
        )


def wait_seconds(step: Step) -> object:
    """Return the duration of a wait in seconds; anything at all when it was written wrongly."""
    duration, seconds = step.options["duration"], step.options["seconds"]
    if seconds is not None:
        return seconds
    return duration.total_seconds() if isinstance(duration, timedelta) else None


def _logs(draft: Draft) -> Iterator[Finding]:
    for name, step in _of_kind(draft, "log"):
        if not is_text(step.options["message"]):
            yield Finding(
                name, "message", "invalid_message", f"log {name!r} has no message; write some text"
            )
        level = step.options["level"]
        if not (isinstance(level, str) and level in _LEVELS):
            yield Finding(
                name,
                "level",
                "unknown_level",
                f"log {name!r} has an unknown level; use one of {', '.join(_LEVELS)}",
            )


def _of_kind(draft: Draft, kind: str) -> Iterator[tuple[str, Step]]:
    return ((name, step) for name, step in draft.steps.items() if step.kind == kind)


def _retries(draft: Draft) -> Iterator[Finding]:
    for name, step in draft.steps.items():
        retry = step.retry
        if retry is None:
            continue
        if not isinstance(retry, RetrySpec):
            yield Finding(
                name,
                "retry",
                "invalid_retry",
                f"retry of step {name!r} is not a policy; write Retry(max_attempts=3)",
            )
            continue
        attempts: object = retry.max_attempts
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            yield Finding(
                name,
                "retry.max_attempts",
                "invalid_max_attempts",
                f"max_attempts of step {name!r} counts the first try: write a whole number >= 1",
            )
        if retry.backoff is not None:
            for fault in _backoff_faults(retry.backoff):
                yield Finding(
                    name, "retry.backoff", "invalid_backoff", f"backoff of step {name!r} {fault}"
                )


def _backoff_faults(backoff: object) -> Iterator[str]:
    if not isinstance(backoff, BackoffSpec):
        yield "is none; write exponential(minimum=1, maximum=30) or fixed(5)"
        return
    if backoff.kind == "fixed":
        if not is_seconds(backoff.minimum):
            yield f"needs a number of seconds > 0 and <= {MAX_SECONDS}; leave it out to not wait"
        return
    if not is_seconds(backoff.minimum):
        yield f"needs a minimum > 0 and <= {MAX_SECONDS} seconds; leave it out to not wait"
    elif not is_seconds(backoff.maximum) or backoff.maximum < backoff.minimum:
        yield f"needs a maximum that is >= its minimum and <= {MAX_SECONDS} seconds"
    if not is_number(backoff.factor) or not 1 <= backoff.factor <= MAX_SECONDS:
        yield "needs a factor >= 1"
    if not is_number(backoff.jitter) or not 0 <= backoff.jitter <= 1:
        yield "needs a jitter between 0 and 1, the share by which a delay may be shortened"


_RULES: Final[tuple[Callable[[Draft], Iterator[Finding]], ...]] = (
    _class_attributes,
    _something_declared,
    _names,
    *triggers.RULES,
    _functions,
    _step_schemas,
    _inputs,
    _outputs,
    _switches,
    _waits,
    _logs,
    _retries,
    *graph.RULES,
)

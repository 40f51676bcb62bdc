"""`flask squidmesh runs | inspect | explain`: what runs there are, and how they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from flask_squidmesh.cli.arguments import find_run_id, json_flag, run_argument
from flask_squidmesh.cli.output import cell, coloured, print_json, properties, say, table
from flask_squidmesh.cli.words import actions, error_in_words, reasons
from flask_squidmesh.engine.inspect import LARGEST_PAGE
from flask_squidmesh.lifecycle.states import RunStatus
from flask_squidmesh.operations import explain_run, inspect_run, list_runs
from flask_squidmesh.types import Run, StepState


@click.command("runs")
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option("--status", type=click.Choice(list(map(str, RunStatus))), help="Only such runs.")
@click.option("--trigger", metavar="NAME", help="Only runs started by this trigger.")
@click.option(
    "--limit", type=click.IntRange(1, LARGEST_PAGE), default=50, show_default=True, help="How many."
)
@click.option("--after", metavar="CURSOR", help="Go on behind an earlier page.")
@json_flag
def runs(*, limit: int, after: str | None, as_json: bool, **filters: Any) -> None:
    """List runs, newest first.

    \b
    Examples:
      flask squidmesh runs --status failed
      flask squidmesh runs --workflow payment_recovery --limit 10 --json
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    try:
        page = list_runs(limit=limit, after=after, **filters)
    except ValueError as error:
        # The other values were checked as options.
        raise click.BadParameter(str(error), param_hint="'--after'") from error
    if as_json:
        print_json(page.to_dict())
        return
    if not page:
        say("No runs.")
        return
    heads = ("run", "workflow", "status", "step", "created", "trigger", "error")
    for line in table(heads, map(_row, page)):
        say(line)
    if page.next is not None:
        say(f"More: add --after {page.next}")


def _row(run: Run) -> tuple[object, ...]:
    error = error_in_words(run.last_error)
    step = run.current_step
    return run.id, run.workflow, run.status, step, run.created_at, run.trigger, error


@click.command("inspect")
@run_argument
@json_flag
def inspect(*, run: str, as_json: bool) -> None:
    """Show a run with its steps, attempts and decisions.

    \b
    Examples:
      flask squidmesh inspect 0198c2f1
      flask squidmesh inspect 0198c2f1 --json
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    found = inspect_run(find_run_id(run), include_history=True)
    if as_json:
        print_json(found.to_dict())
        return
    for line in _described(found):
        say(line)


def _described(run: Run) -> Iterator[str]:
    where = "" if run.current_step is None else f" at {cell(run.current_step)}"
    yield f"Run {run.id} of {cell(run.workflow)} is {coloured(run.status)}{where}"
    yield ""
    yield from properties(
        [
            ("version", run.definition_version),
            ("trigger", run.trigger),
            ("created", run.created_at),
            ("updated", run.updated_at),
            ("finished", run.finished_at),
            ("replay of", run.replayed_from_run_id),
            ("last error", error_in_words(run.last_error)),
            ("payload", run.payload),
            ("context", run.context),
        ]
    )
    yield ""
    heads = ("step", "kind", "status", "visit", "attempts", "due", "output")
    yield from table(heads, [_step_row(state) for state in run.steps or ()])
    yield from _attempts(run)
    yield from _audit(run)


def _attempts(run: Run) -> Iterator[str]:
    attempts = [
        (
            s.step,
            s.visit,
            a.number,
            a.status,
            a.started_at,
            a.finished_at,
            a.worker,
            error_in_words(a.error),
        )
        for s in run.step_runs or ()
        for a in s.attempts
    ]
    if attempts:
        yield ""
        heads = (
            "attempt of",
            "visit",
            "number",
            "status",
            "started",
            "finished",
            "worker",
            "error",
        )
        yield from table(heads, attempts)


def _audit(run: Run) -> Iterator[str]:
    if run.audit_events:
        yield ""
        heads = ("event", "step", "at", "actor", "comment", "metadata")
        yield from table(
            heads,
            [(e.type, e.step, e.at, e.actor, e.comment, e.metadata) for e in run.audit_events],
        )


def _step_row(state: StepState) -> tuple[object, ...]:
    return (
        state.step,
        state.kind,
        state.status,
        state.visit or None,
        len(state.attempts) or None,
        state.due_at,
        state.output,
    )


@click.command("explain")
@run_argument
@json_flag
def explain(*, run: str, as_json: bool) -> None:
    """Say why a run is where it is, and what can be done.

    \b
    Example:
      flask squidmesh explain 0198c2f1
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    run_id = find_run_id(run)
    explanation = explain_run(run_id)
    if as_json:
        print_json(explanation.to_dict())
        return
    say(f"Run {run_id} is {coloured(explanation.status)}.")
    for line in reasons(explanation):
        say(f"  {line}")
    possible = list(actions(explanation, run_id))
    if possible:
        say("What can be done:")
    for command in possible:
        say(f"  {command}")


ALL: Final = (runs, inspect, explain)

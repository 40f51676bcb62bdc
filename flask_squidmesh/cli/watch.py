"""`flask squidmesh watch`: a run as it goes.

Reads the run again and again. On a terminal the same lines are drawn anew;
elsewhere a line is printed for every change, and with `--json` a document.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from flask_squidmesh.cli.arguments import find_run_id, json_flag, run_argument
from flask_squidmesh.cli.output import (
    cell,
    coloured,
    cut,
    is_terminal,
    moment,
    print_json,
    say,
    table,
    terminal_size,
)
from flask_squidmesh.cli.words import actions, error_in_words, reasons, since
from flask_squidmesh.clock import Clock, pause
from flask_squidmesh.current import state
from flask_squidmesh.engine.survey import Failure, said_by
from flask_squidmesh.lifecycle.states import RUN, RunStatus, terminal
from flask_squidmesh.operations import explain_run, inspect_run
from flask_squidmesh.types import Run

INTERVAL: Final = 0.5
"""Seconds between two looks."""

_OVER: Final = frozenset(terminal(RUN))


@click.command("watch")
@run_argument
@json_flag
def watch(*, run: str, as_json: bool) -> None:
    """Follow a run until it is over.

    Exits with 0 when the run has completed, with 1 when it has failed, was
    cancelled, or when you stop watching with Ctrl+C, which does nothing to
    the run.

    \b
    Example:
      flask squidmesh watch 0198c2f1 && echo paid
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    run_id = find_run_id(run)
    show: Callable[[Run], None]
    if as_json:
        show = _Documents().show
    elif is_terminal():
        show = _Screen(state().clock).show
    else:
        show = _Log().show
    try:
        last = _follow(run_id, show)
    except KeyboardInterrupt:
        click.echo(f"\nNot watching any more; run {run_id} goes on.", err=True)
        click.get_current_context().exit(1)
    if last.status != RunStatus.COMPLETED:
        click.get_current_context().exit(1)


def _follow(run_id: str, show: Callable[[Run], None]) -> Run:
    """Show the run until it is over; a database that goes away in between is waited for."""
    run = inspect_run(run_id, include_history=True)
    show(run)
    is_away = False
    while run.status not in _OVER:
        pause(INTERVAL)
        try:
            run = inspect_run(run_id, include_history=True)
            show(run)
        except Failure as failure:
            if not is_away:
                click.echo(f"The database is away, trying on: {said_by(failure)}", err=True)
            is_away = True
        else:
            is_away = False
    return run


class _Documents:
    """Prints a document, in one line, whenever something has changed."""

    def __init__(self) -> None:
        self._shown: dict[str, Any] | None = None

    def show(self, run: Run) -> None:
        document = run.to_dict()
        if document != self._shown:
            print_json(document, lines=True)
            sys.stdout.flush()
        self._shown = document


class _Log:
    """Prints the lines that are new: attempts that ended between two looks are not missed."""

    def __init__(self) -> None:
        self._shown: set[str] = set()
        self._status = ""

    def show(self, run: Run) -> None:
        for line in _events(run):
            if line not in self._shown:
                self._shown.add(line)
                say(line)
        if run.status != self._status:
            self._status = run.status
            say(f"run is {run.status}")
        sys.stdout.flush()


def _events(run: Run) -> Iterator[str]:
    """Yield a line for everything that has happened, and for every step that has not ended."""
    yield f"run {run.id} of {cell(run.workflow)}, started {moment(run.created_at)}"
    for step in run.step_runs or ():
        name = cell(step.step) + (f" (visit {step.visit})" if step.visit > 1 else "")
        for attempt in step.attempts:
            if attempt.status == "running" and step.kind != "step":
                continue
            error = f": {error_in_words(attempt.error)}" if attempt.error else ""
            yield f"  {name}: attempt {attempt.number} {attempt.status}{error}"
        if step.finished_at is None and step.status != "running":
            until = f" until {moment(step.due_at)}" if step.due_at else ""
            yield f"  {name}: {step.status}{until}"
    for event in run.audit_events or ():
        actor = f" by {cell(event.actor)}" if event.actor else ""
        step_name = f"{cell(event.step)}: " if event.step else ""
        yield f"  {step_name}{event.type}{actor} at {moment(event.at)}"


class _Screen:
    """Draws the same lines again, in place."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._drawn = 0

    def show(self, run: Run) -> None:
        columns, rows = terminal_size()
        lines = list(self._lines(run, columns))[: max(rows - 1, 1)]
        if self._drawn:
            # Up to the first line, and clear everything below.
            click.echo(f"\x1b[{self._drawn}A\x1b[J", nl=False)
        for line in lines:
            say(line)
        self._drawn = len(lines)

    def _lines(self, run: Run, columns: int) -> Iterator[str]:
        age = since(run.created_at, run.finished_at or self._clock.now)
        yield f"Run {run.id} is {coloured(run.status)}"
        yield cut(f"{cell(run.workflow)}, started {moment(run.created_at)}, {age}", columns)
        yield ""
        rows = [
            (
                state.step,
                state.kind,
                state.status,
                state.visit if state.visit > 1 else None,
                len(state.attempts) or None,
                state.due_at,
                error_in_words(state.last_error),
            )
            for state in run.steps or ()
        ]
        yield from table(("step", "kind", "status", "visit", "attempts", "due", "error"), rows)
        yield ""
        explanation = explain_run(run.id)
        for line in (*reasons(explanation), *actions(explanation, run.id)):
            yield cut(line, columns)

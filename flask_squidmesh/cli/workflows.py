"""`flask squidmesh workflows | graph`: what is declared, and how it hangs together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import click

from flask_squidmesh.cli.arguments import find_run_id, json_flag
from flask_squidmesh.cli.output import cell, moment, print_json, say, table
from flask_squidmesh.current import state
from flask_squidmesh.definition.spec import Definition, TriggerSpec
from flask_squidmesh.exceptions import InvalidRunId, RunNotFound, UnknownWorkflow
from flask_squidmesh.operations import inspect_run_graph, list_workflows
from flask_squidmesh.types import RunGraph, WorkflowGraph

Upcoming = Mapping[tuple[str, str], datetime]


@click.command("workflows")
@json_flag
def workflows(*, as_json: bool) -> None:
    """List the registered workflows, with triggers and steps.

    Of a cron trigger the next time is shown; no process has to run for that.

    \b
    Example:
      flask squidmesh workflows
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    definitions = [workflow.definition for workflow in list_workflows()]
    if as_json:
        print_json({"items": [each.to_dict() for each in definitions], "next": None})
        return
    if not definitions:
        say("No workflows: list their modules in SQUIDMESH_WORKFLOWS.")
        return
    upcoming = state().engine().upcoming() if any(map(_has_cron, definitions)) else {}
    rows = [row for definition in definitions for row in _rows(definition, upcoming)]
    for line in table(("workflow", "version", "trigger", "next", "steps"), rows):
        say(line)


def _has_cron(definition: Definition) -> bool:
    return any(trigger.kind == "cron" for trigger in definition.triggers)


def _rows(definition: Definition, upcoming: Upcoming) -> Iterator[tuple[object, ...]]:
    """Yield a row for each trigger; the workflow itself is named in the first."""
    steps = ", ".join(step.name for step in definition.steps)
    about: tuple[object, ...] = (definition.name, definition.version)
    for trigger in definition.triggers:
        at = upcoming.get((definition.name, trigger.name))
        yield (*about, _described(trigger), None if at is None else moment(at), steps)
        about, steps = ("", ""), ""


def _described(trigger: TriggerSpec) -> str:
    if trigger.kind == "manual":
        return trigger.name
    return f"{trigger.name}: {trigger.expression} {trigger.timezone}"


@click.command("graph")
@click.argument("subject", metavar="NAME|RUN")
@json_flag
def graph(*, subject: str, as_json: bool) -> None:
    """Print the graph of a workflow, or of a run with its states, as Mermaid.

    Mermaid is drawn by GitHub, GitLab and https://mermaid.live.

    \b
    Examples:
      flask squidmesh graph payment_recovery
      flask squidmesh graph 0198c2f1
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    found = _find_graph(subject)
    if as_json:
        print_json(found.to_dict())
    else:
        say(found.to_mermaid().rstrip())


def _find_graph(subject: str) -> RunGraph | WorkflowGraph:
    engine = state().engine()
    try:
        return engine.graph_of_workflow(subject)
    except UnknownWorkflow as unknown:
        try:
            return inspect_run_graph(find_run_id(subject))
        except (InvalidRunId, RunNotFound):
            known = ", ".join(unknown.known) or "none"
            raise click.ClickException(
                f"{cell(subject)!r} is neither a registered workflow (these are: {known}) nor the "
                "beginning of a run's id: flask squidmesh runs"
            ) from None


ALL: Final = (workflows, graph)

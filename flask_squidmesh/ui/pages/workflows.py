"""The workflows of this application: what they are, how they are started, what they look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from markupsafe import Markup

from flask_squidmesh.definition.spec import Definition, StepSpec, TriggerSpec
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.exceptions import UnknownWorkflow
from flask_squidmesh.operations import graph_of_workflow, list_versions, list_workflows, upcoming
from flask_squidmesh.ui import consequences
from flask_squidmesh.ui.drawing import draw
from flask_squidmesh.ui.pages.history import KINDS
from flask_squidmesh.ui.phrases import follows
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, Sentence, listed, name, visible
from flask_squidmesh.ui.when import Moment, duration, find_moment, moment

MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Trigger:
    """A way to start a workflow; `next` is a cron trigger's next window."""

    name: Part
    kind: str
    expression: str | None
    timezone: str | None
    next: Moment | None
    fields: tuple[tuple[Part, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A workflow in the list."""

    name: Part
    url: str
    version: Part | None
    about: str | None
    steps: int
    mode: str
    triggers: tuple[Trigger, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A declared step."""

    name: Part
    kind: str
    waits_for: Sentence
    attempts: str
    if_ok: Sentence
    if_error: Sentence


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A definition that runs were started with; new runs follow the one that `is_current`."""

    version: Part | None
    fingerprint: str
    first_used: Moment
    is_current: bool


@dataclass(frozen=True, slots=True)
class WorkflowPage:
    """A workflow, drawn and as a table."""

    name: Part
    version: Part | None
    about: str | None
    fingerprint: str
    mode: str
    triggers: tuple[Trigger, ...]
    graph: Markup
    steps: tuple[Step, ...]
    step_count: int
    versions: tuple[VersionRow, ...]
    runs_url: str | None
    start_url: str | None


def build_list(call: Call) -> tuple[Row, ...]:
    """Return the registered workflows."""
    windows = upcoming()
    return tuple(_row(call, workflow, windows) for workflow in list_workflows())


def _row(call: Call, workflow: type[Workflow], windows: Mapping[tuple[str, str], datetime]) -> Row:
    definition = workflow.definition
    return Row(
        name=name(definition.name),
        url=url_for(".workflow", name=definition.name),
        version=_version(definition),
        about=_about(workflow),
        steps=len(definition.steps),
        mode=definition.mode,
        triggers=triggers_of(call, definition, windows),
    )


def find(wanted: str) -> type[Workflow]:
    """Return the workflow of this name.

    Raises:
        UnknownWorkflow: None is registered.
    """
    for workflow in list_workflows():
        if workflow.name == wanted:
            return workflow
    raise UnknownWorkflow(wanted)


def build(call: Call) -> WorkflowPage:
    """Return the page of a workflow.

    Raises:
        UnknownWorkflow: It is not registered.
    """
    workflow = find(call.arguments["name"])
    definition = workflow.definition
    may_list, may_start = (call.visitor.may(a) for a in ("runs:list", "runs:start"))
    return WorkflowPage(
        name=name(definition.name),
        version=_version(definition),
        about=_about(workflow),
        fingerprint=definition.fingerprint,
        mode=definition.mode,
        triggers=triggers_of(call, definition, upcoming()),
        graph=draw(graph_of_workflow(workflow), title=f"Graph of the workflow {definition.name}"),
        steps=tuple(_step(definition, spec.name) for spec in definition.steps[:MOST_STEPS]),
        step_count=len(definition.steps),
        versions=tuple(
            VersionRow(
                version=None if found.version is None else name(found.version),
                fingerprint=found.fingerprint,
                first_used=moment(found.first_used_at, call.now),
                is_current=found.fingerprint == definition.fingerprint,
            )
            for found in list_versions(definition.name)
        ),
        runs_url=url_for(".runs", workflow=definition.name) if may_list else None,
        start_url=url_for(".start", name=definition.name) if may_start else None,
    )


def _version(definition: Definition) -> Part | None:
    return None if definition.version is None else name(definition.version)


def _about(workflow: type[Workflow]) -> str | None:
    """Return the first paragraph of what the workflow's author says about it."""
    text = vars(workflow).get("__doc__")
    return " ".join(visible(text).strip().split("\n\n")[0].split()) if text else None


def triggers_of(
    call: Call, definition: Definition, windows: Mapping[tuple[str, str], datetime]
) -> tuple[Trigger, ...]:
    """Return the triggers of *definition*, with the next windows of those that are cron's."""
    return tuple(
        _trigger(spec, windows.get((definition.name, spec.name)), call.now)
        for spec in definition.triggers
    )


def _trigger(spec: TriggerSpec, window: datetime | None, now: datetime) -> Trigger:
    return Trigger(
        name=name(spec.name),
        kind=spec.kind,
        expression=spec.expression,
        timezone=spec.timezone,
        next=find_moment(window, now),
        fields=tuple((name(field), visible(kind)) for field, kind in spec.fields.items()),
    )


def _attempts(spec: StepSpec) -> str:
    if spec.kind != "step":
        return ""
    return str(spec.retry.max_attempts if spec.retry is not None else 1)


def _step(definition: Definition, step: str) -> Step:
    spec = definition.steps_by_name[step]
    kind = KINDS.get(spec.kind, spec.kind)
    can_fail = spec.kind == "step" or (step, "error") in definition.routes
    if spec.kind == "wait":
        kind = f"{kind}, {duration(spec.seconds or 0)}"
    return Step(
        name=name(step),
        kind=kind,
        waits_for=listed((name(each) for each in spec.depends_on), most=5),
        attempts=_attempts(spec),
        if_ok=follows(consequences.of_outcome(definition, step, "ok")),
        if_error=follows(consequences.of_outcome(definition, step, "error")) if can_fail else (),
    )

"""One step of a run: what it is, what it saw and returned, and each of its attempts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flask import url_for

from flask_squidmesh.definition.spec import StepSpec
from flask_squidmesh.operations import study_run
from flask_squidmesh.types import Run, StepRun
from flask_squidmesh.ui import consequences
from flask_squidmesh.ui.badge import Badge, badge
from flask_squidmesh.ui.data import Data, show
from flask_squidmesh.ui.pages import history
from flask_squidmesh.ui.pages.history import AttemptRow, TimeRow
from flask_squidmesh.ui.pages.run import Head, head
from flask_squidmesh.ui.people import Event, event
from flask_squidmesh.ui.phrases import follows
from flask_squidmesh.ui.problems import Refused
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, Sentence, foreign, listed, name, say
from flask_squidmesh.ui.when import duration


@dataclass(frozen=True, slots=True)
class StepPage:
    """A step of a run, at one of its visits."""

    head: Head
    name: Part
    kind: str
    badge: Badge
    facts: tuple[tuple[str, Sentence], ...]
    visit: int
    visits: tuple[tuple[int, str], ...]
    times: tuple[TimeRow, ...]
    attempts: tuple[AttemptRow, ...]
    data: tuple[Data, ...]
    events: tuple[Event, ...]


def build(call: Call, visit: str | None) -> StepPage:
    """Return the page of a step, at its latest visit unless another is asked for.

    Raises:
        Refused: The run has no such step, or has not made this visit.
    """
    run = call.require_run()
    known = study_run(run.id)
    spec = known.definition.steps_by_name.get(call.arguments["step"])
    if spec is None:
        raise Refused(404, "No such step", "This run has no step of this name.")
    made = [s for s in known.run.step_runs or () if s.step == spec.name]
    chosen = _chosen(made, visit)
    return StepPage(
        head=head(known.run, call.visitor, call.now),
        name=name(spec.name),
        kind=history.KINDS.get(spec.kind, spec.kind),
        badge=badge("not_started" if chosen is None else chosen.status),
        facts=(
            *_facts(spec),
            ("If it succeeds", follows(consequences.of_outcome(known.definition, spec.name, "ok"))),
            *(
                [
                    (
                        "If it fails",
                        follows(consequences.of_outcome(known.definition, spec.name, "error")),
                    )
                ]
                if spec.kind in ("step", "approval")
                else []
            ),
        ),
        visit=0 if chosen is None else chosen.visit,
        visits=tuple(
            (s.visit, url_for(".step", run_id=run.id, step=spec.name, visit=s.visit))
            for s in made[-history.ROWS :]
        ),
        times=() if chosen is None else history.time_rows(_only(known.run, chosen), call.now),
        attempts=() if chosen is None else history.attempt_rows([chosen], call.now),
        data=() if chosen is None else _data(call, run, chosen),
        events=tuple(
            event(found, call.now)
            for found in known.run.audit_events or ()
            if found.step == spec.name
        ),
    )


def _chosen(made: list[StepRun], visit: str | None) -> StepRun | None:
    if visit is None:
        return made[-1] if made else None
    found = [s for s in made if str(s.visit) == visit]
    if not found:
        raise Refused(404, "No such visit", "The run has not entered this step that often.")
    return found[0]


def _only(run: Run, step_run: StepRun) -> Run:
    return replace(run, step_runs=(step_run,))


def _facts(spec: StepSpec) -> list[tuple[str, Sentence]]:
    facts: list[tuple[str, Sentence]] = []
    if spec.depends_on:
        facts.append(("Waits for", listed(name(each) for each in spec.depends_on)))
    if spec.seconds is not None:
        facts.append(("Takes", say(duration(spec.seconds))))
    if spec.message is not None:
        facts.append(("Writes to the log", (foreign(spec.message),)))
    if spec.kind == "step":
        facts.append(("Attempts", say(_policy(spec))))
    if spec.output is not None:
        facts.append(("Output is kept as", (name(spec.output),)))
    return facts


def _policy(spec: StepSpec) -> str:
    if spec.at_most_once:
        return "one, and not even a second if its worker is lost"
    if spec.retry is None:
        return "one"
    backoff = spec.retry.backoff
    if backoff is None:
        return f"up to {spec.retry.max_attempts}, one after the other"
    if backoff.kind == "fixed":
        return f"up to {spec.retry.max_attempts}, {duration(backoff.minimum)} apart"
    return (
        f"up to {spec.retry.max_attempts}, first {duration(backoff.minimum)} apart, "
        f"at most {duration(backoff.maximum)}"
    )


def _data(call: Call, run: Run, step_run: StepRun) -> tuple[Data, ...]:
    if step_run.kind not in ("step", "approval"):
        return ()
    is_visible = call.visitor.may("runs:payload", run)
    shown = []
    for of, title, value in (
        ("input", "Input", step_run.input),
        ("output", "Output", step_run.output),
    ):
        if of == "input" and step_run.kind == "approval":
            continue
        url = url_for(".data", run_id=run.id, of=of, step=step_run.step, visit=step_run.visit)
        shown.append(show(f"data-{of}", title, value, href=url if is_visible else None))
    return tuple(shown)

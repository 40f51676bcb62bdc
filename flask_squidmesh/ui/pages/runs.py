"""The list of runs: filters in the address, pages by cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import url_for

from flask_squidmesh.exceptions import InvalidRunId
from flask_squidmesh.lifecycle.states import RunStatus
from flask_squidmesh.operations import list_runs, list_runs_by_prefix, list_workflows
from flask_squidmesh.types import Run
from flask_squidmesh.ui.badge import Badge, badge
from flask_squidmesh.ui.problems import Refused
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, Sentence, foreign, name, say
from flask_squidmesh.ui.when import Moment, moment

PAGE: Final = 50
STATUSES: Final = tuple(status.value for status in RunStatus)
_FILTERS: Final = ("workflow", "status", "trigger")


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the list; `url` is None for those who may not read it."""

    id: str
    workflow: Part
    badge: Badge
    where: Sentence
    trigger: Part
    started: Moment
    changed: Moment
    url: str | None


@dataclass(frozen=True, slots=True)
class RunsPage:
    """A page of the list, and the filters it was made with."""

    rows: tuple[Row, ...]
    workflows: tuple[str, ...]
    statuses: tuple[str, ...]
    chosen: Mapping[str, str]
    problem: str | None
    next_url: str | None
    first_url: str | None
    is_filtered: bool


def build(call: Call, query: Mapping[str, str]) -> RunsPage:
    """Return a page of the list for the visitor.

    Raises:
        Refused: The cursor is not ours.
    """
    chosen = {key: query.get(key, "").strip() for key in (*_FILTERS, "find")}
    problem: str | None = None
    runs: tuple[Run, ...] = ()
    following: str | None = None
    if chosen["find"]:
        try:
            runs = list_runs_by_prefix(chosen["find"], limit=PAGE)
        except InvalidRunId:
            problem = "No id of a run begins like this. Ids are UUIDs, such as 0198c5d2-…"
    elif chosen["status"] and chosen["status"] not in STATUSES:
        problem = "There is no such status."
    else:
        runs, following = _page(chosen, query.get("after"))
    kept: dict[str, Any] = {key: value for key, value in chosen.items() if value}
    return RunsPage(
        rows=tuple(_rows(call, runs)),
        workflows=_workflows(chosen["workflow"]),
        statuses=STATUSES,
        chosen=chosen,
        problem=problem,
        next_url=None if following is None else url_for(".runs", **kept, after=following),
        first_url=url_for(".runs", **kept) if query.get("after") else None,
        is_filtered=bool(kept),
    )


def _page(chosen: Mapping[str, str], after: str | None) -> tuple[tuple[Run, ...], str | None]:
    filters = {key: chosen[key] or None for key in _FILTERS}
    # No name has this character, and no database takes it.
    if any("\0" in (value or "") for value in filters.values()):
        return (), None
    try:
        page = list_runs(**filters, limit=PAGE, after=after or None)
    except ValueError:
        text = "This address does not lead to a page of the list."
        raise Refused(400, "No such page", text) from None
    return page.items, page.next


def _workflows(chosen: str) -> tuple[str, ...]:
    """Return the workflows to choose from: those registered, and the one that is chosen."""
    known = {workflow.name for workflow in list_workflows()}
    return tuple(sorted({*known, chosen} - {""}))


def _rows(call: Call, runs: Iterable[Run]) -> Iterable[Row]:
    for run in runs:
        may_read = call.visitor.may("runs:read", run)
        yield Row(
            id=run.id,
            workflow=name(run.workflow),
            badge=badge(run.status),
            where=where(run),
            trigger=name(run.trigger),
            started=moment(run.created_at, call.now),
            changed=moment(run.updated_at, call.now),
            url=url_for(".run", run_id=run.id) if may_read else None,
        )


def where(run: Run) -> Sentence:
    """Return in a few words where the run stands."""
    step = None if run.current_step is None else name(run.current_step)
    if run.last_error is not None:
        code = foreign(run.last_error.get("code"), limit=80)
        return say("{code} at {step}", code=code, step=step or "a step")
    if step is None:
        return ()
    return say("waits for a person at {step}", step=step) if run.status == "paused" else (step,)

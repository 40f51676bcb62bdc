"""The overview: how many runs there are, what does not move, what failed."""

from __future__ import annotations

from dataclasses import dataclass

from flask import url_for

from flask_squidmesh.operations import Overview, find_runs, list_waiting, look_over
from flask_squidmesh.types import Run
from flask_squidmesh.ui.badge import Badge, badge
from flask_squidmesh.ui.pages.inbox import Item, items
from flask_squidmesh.ui.route import Call
from flask_squidmesh.ui.text import Part, Sentence, foreign, name, say, visible
from flask_squidmesh.ui.when import Moment, moment

MOST_WAITING = 5
MOST_GROUPS = 12
MOST_LOST = 5


@dataclass(frozen=True, slots=True)
class Tile:
    """How many runs have a status, and the way to them."""

    badge: Badge
    number: str
    url: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that should move and does not."""

    id: str
    sentence: Sentence
    url: str | None


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed runs of one workflow, step and code."""

    workflow: Part
    step: Part | None
    code: Part
    count: int
    message: str
    latest: Moment
    latest_url: str | None
    url: str


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """The overview."""

    unfinished: tuple[Tile, ...]
    ended: tuple[Tile, ...]
    ended_since: Moment
    troubles: tuple[Trouble, ...]
    waiting: tuple[Item, ...]
    has_more_waiting: bool
    failures: tuple[Failures, ...]
    failures_among: int


def build(call: Call) -> OverviewPage:
    """Return the overview for the visitor."""
    found = look_over()
    waiting = list_waiting(limit=MOST_WAITING)
    lost, groups = found.lost[:MOST_LOST], found.failures[:MOST_GROUPS]
    named = [*(still.run_id for still in lost), *(group.run_id for group in groups)]
    if found.untaken is not None:
        named.append(found.untaken.run_id)
    runs = find_runs(named)
    return OverviewPage(
        unfinished=tuple(_tile(c.status, c.number, c.is_least) for c in found.unfinished),
        ended=tuple(_tile(c.status, c.number, c.is_least) for c in found.ended),
        ended_since=moment(found.ended_since, call.now),
        troubles=tuple(_troubles(call, found, runs)),
        waiting=items(call, waiting.items),
        has_more_waiting=waiting.next is not None,
        failures=tuple(
            Failures(
                workflow=name(group.workflow),
                step=None if group.step is None else name(group.step),
                code=name(group.code or "unknown"),
                count=group.count,
                message=visible(group.message, limit=200),
                latest=moment(group.at, call.now),
                latest_url=_url(call, runs, group.run_id),
                url=url_for(".runs", workflow=group.workflow, status="failed"),
            )
            for group in groups
        ),
        failures_among=found.failures_among,
    )


def _tile(status: str, number: int, is_least: bool) -> Tile:  # noqa: FBT001  # from one place
    text = f"{number:,}+" if is_least else f"{number:,}"
    return Tile(badge(status), text, url_for(".runs", status=status))


def _troubles(call: Call, found: Overview, runs: dict[str, Run]) -> list[Trouble]:
    troubles = []
    for number, still in enumerate(found.lost[:MOST_LOST]):
        sentence = say(
            "The worker {worker} is silent: its lease on {step} of {workflow} ran out {since}. "
            "Another worker takes over within seconds, if one is running.",
            worker=foreign(still.worker, limit=120),
            step=name(still.step),
            workflow=name(still.workflow),
            since=moment(still.since, call.now).relative,
        )
        troubles.append(Trouble(f"lost-{number}", sentence, _url(call, runs, still.run_id)))
    if len(found.lost) > MOST_LOST:
        more = say(
            "{count} more workers are silent, or even more.", count=str(len(found.lost) - MOST_LOST)
        )
        troubles.append(Trouble("lost-more", more, None))
    if found.untaken is not None:
        sentence = say(
            "No worker takes what is ready: {step} of {workflow} became ready {since}. Check that "
            "workers listen to the queue: flask squidmesh check.",
            step=name(found.untaken.step),
            workflow=name(found.untaken.workflow),
            since=moment(found.untaken.since, call.now).relative,
        )
        troubles.append(Trouble("untaken", sentence, _url(call, runs, found.untaken.run_id)))
    return troubles


def _url(call: Call, runs: dict[str, Run], run_id: str) -> str | None:
    """Return the way to a run for those who may read it."""
    run = runs.get(run_id)
    if run is None or not call.visitor.may("runs:read", run):
        return None
    return url_for(".run", run_id=run_id)

"""Pages of runs, newest first: a page costs the same whatever the filters and however many runs.

Every filter is answered from an index that has the filtered columns in front
and the order of the list behind them:

* all runs: `runs (created_at, id)`
* by status: `run_states (status, created_at, run_id)`
* by workflow, trigger or both: `runs (workflow, trigger, created_at, id)`
* by status besides: `run_states (status, workflow, trigger, created_at, run_id)`

Where only one of workflow and trigger is asked for, the values that the other
one has are looked up first, by skipping from one to the next in the index;
then each pair of them is a *stream* in the order of the list, and the page is
made of the first rows of all streams.

The copies of workflow and trigger in `run_states` are null in rows that a
release without them has written. Such *strays* are one more stream: few, in the
hours in which workers of both releases are at work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from flask_squidmesh.store.models import NAME, UtcDateTime, run_states, runs
from flask_squidmesh.store.runs import RunRow, StateRow, split, with_state

Position = tuple[datetime, str]
"""A place in the list: when the run there was created, and its id."""

_AT_ONCE: Final = 100
"""How many streams one statement reads; SQLite refuses more than 500."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What the runs of a list have in common; None: anything."""

    workflow: str | None = None
    status: str | None = None
    trigger: str | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that the text of a statement depends on."""

    has_status: bool
    has_workflow: bool
    has_trigger: bool
    is_continued: bool
    compares_rows: bool

    @property
    def is_plain(self) -> bool:
        """Return whether one index has the rows in the order of the list."""
        return not (self.has_workflow or self.has_trigger)

    @property
    def columns(self) -> Sequence[sa.Column[Any]]:
        """The index columns in front, then the order of the list."""
        if self.has_status:
            c = run_states.c
            front = () if self.is_plain else (c.workflow, c.trigger)
            return (c.status, *front, c.created_at, c.run_id)
        front = () if self.is_plain else (runs.c.workflow, runs.c.trigger)
        return (*front, runs.c.created_at, runs.c.id)


def list_newest(
    connection: sa.Connection, filters: Filters, *, before: Position | None, limit: int
) -> list[tuple[RunRow, StateRow]]:
    """Return up to *limit* runs, newest first, from after *before* in that order."""
    shape = _Shape(
        has_status=filters.status is not None,
        has_workflow=filters.workflow is not None,
        has_trigger=filters.trigger is not None,
        is_continued=before is not None,
        compares_rows=connection.dialect.name == "postgresql",
    )
    values: dict[str, Any] = {"status": filters.status, "page": limit}
    if before is not None:
        values["at"], values["last"] = before
    if shape.is_plain:
        rows = connection.execute(_plain(shape), values)
        return [split(row) for row in rows]
    values |= {"workflow": filters.workflow, "trigger": filters.trigger}
    pairs = _pairs(connection, shape, filters)
    found: list[tuple[RunRow, StateRow]] = []
    # Once at least, for the strays.
    for start in range(0, max(len(pairs), 1), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        has_strays = shape.has_status and start == 0
        if not part and not has_strays:
            break
        named = {f"workflow_{n}": pair[0] for n, pair in enumerate(part)}
        named |= {f"trigger_{n}": pair[1] for n, pair in enumerate(part)}
        statement = _merged(shape, len(part), has_strays)
        found += [split(row) for row in connection.execute(statement, {**values, **named}).all()]
    if len(pairs) > _AT_ONCE:
        found.sort(key=lambda row: (row[0].created_at, row[0].id), reverse=True)
    return found[:limit]


def _pairs(
    connection: sa.Connection, shape: _Shape, filters: Filters
) -> list[tuple[str | None, str | None]]:
    """Return the workflows and triggers of which there are runs that pass the filters."""
    if shape.has_workflow and shape.has_trigger:
        return [(filters.workflow, filters.trigger)]
    values = {"status": filters.status, "workflow": filters.workflow}
    others = connection.scalars(_others(shape), values)
    if shape.has_workflow:
        return [(filters.workflow, trigger) for trigger in others]
    return [(workflow, filters.trigger) for workflow in others]


@lru_cache(maxsize=16)
def _others(shape: _Shape) -> sa.Select[Any]:
    """Find the values of the column that is not asked for, each by one step into the index."""
    *front, workflow, trigger, _, _ = shape.columns
    wanted = trigger if shape.has_workflow else workflow
    here = [column == sa.bindparam("status") for column in front]
    if shape.has_workflow:
        here.append(workflow == sa.bindparam("workflow"))
    first = sa.select(sa.func.min(wanted).label("value")).where(*here)
    found = first.cte("found", recursive=True)
    following = sa.select(sa.func.min(wanted)).where(*here, wanted > found.c.value)
    found = found.union_all(
        sa.select(following.scalar_subquery()).where(found.c.value.is_not(None))
    )
    return sa.select(found.c.value).where(found.c.value.is_not(None))


@lru_cache(maxsize=16)
def _plain(shape: _Shape) -> sa.Select[Any]:
    *front, created, ident = shape.columns
    query = with_state().where(*(column == sa.bindparam("status") for column in front))
    if shape.is_continued:
        query = query.where(*_after_last(created, ident))
    return query.order_by(created.desc(), ident.desc()).limit(sa.bindparam("page"))


@lru_cache(maxsize=64)
def _merged(shape: _Shape, streams: int, has_strays: bool) -> sa.Select[Any]:  # noqa: FBT001  # a key of the cache
    """Return the page that the first rows of so many streams make."""
    parts = [_stream(shape, number) for number in range(streams)]
    if has_strays:
        parts.append(_strays(shape))
    # Each its own subquery: that is how the order and limit of a part are written everywhere.
    selected = [sa.select(part.subquery(f"part_{n}")) for n, part in enumerate(parts)]
    united = (selected[0] if len(selected) == 1 else sa.union_all(*selected)).subquery("parts")
    keys = (
        sa.select(united)
        .order_by(united.c.created_at.desc(), united.c.id.desc())
        .limit(sa.bindparam("page"))
        .subquery("keys")
    )
    return (
        with_state()
        .join(keys, keys.c.id == runs.c.id)
        .order_by(keys.c.created_at.desc(), keys.c.id.desc())
    )


def _stream(shape: _Shape, number: int) -> sa.Select[Any]:
    """Return time and id of the newest runs of one workflow and trigger."""
    columns = shape.columns
    created, ident = columns[-2:]
    names = [f"workflow_{number}", f"trigger_{number}"]
    if shape.has_status:
        names.insert(0, "status")
    values = [sa.bindparam(name, type_=NAME) for name in names]
    front = columns[:-2]
    query = sa.select(created.label("created_at"), ident.label("id"))
    if not shape.compares_rows:
        query = query.where(*(c == v for c, v in zip(front, values, strict=True)))
        if shape.is_continued:
            query = query.where(*_after_last(created, ident))
        order = [created, ident]
    else:
        # PostgreSQL takes workflow and trigger for independent of each other, and would rather
        # look through all runs for a pair that is rare. Compared as rows, and in the order of
        # all columns, they leave it the one index.
        query = query.where(sa.tuple_(*front) >= sa.tuple_(*values))
        if shape.is_continued:
            last = (sa.bindparam("at", type_=UtcDateTime), sa.bindparam("last", type_=ident.type))
            query = query.where(sa.tuple_(*columns) < sa.tuple_(*values, *last))
        else:
            query = query.where(sa.tuple_(*front) <= sa.tuple_(*values))
        order = list(columns)
    return query.order_by(*(column.desc() for column in order)).limit(sa.bindparam("page"))


def _strays(shape: _Shape) -> sa.Select[Any]:
    """Return time and id of the newest runs whose state does not say what they are."""
    created, ident = run_states.c.created_at, run_states.c.run_id
    query = (
        sa.select(created.label("created_at"), ident.label("id"))
        .join(runs, runs.c.id == ident)
        .where(run_states.c.status == sa.bindparam("status"), run_states.c.workflow.is_(None))
    )
    if shape.has_workflow:
        query = query.where(runs.c.workflow == sa.bindparam("workflow"))
    if shape.has_trigger:
        query = query.where(runs.c.trigger == sa.bindparam("trigger"))
    if shape.is_continued:
        query = query.where(*_after_last(created, ident))
    return query.order_by(created.desc(), ident.desc()).limit(sa.bindparam("page"))


def _after_last(
    created: sa.Column[Any], ident: sa.Column[Any]
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Return the condition for what follows the last run of a page, as a range of the index."""
    at = sa.bindparam("at", type_=UtcDateTime)
    return created <= at, sa.or_(created < at, ident < sa.bindparam("last", type_=ident.type))

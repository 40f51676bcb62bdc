"""Pure reads: runs and their history as frozen values.

Works from the stored definition alone, also when the workflow's code is gone.
What a step run saw is rebuilt from the outputs up to its horizon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask_squidmesh.definition import documents, inputs
from flask_squidmesh.definition.spec import Definition, StepSpec
from flask_squidmesh.engine import cursor
from flask_squidmesh.engine.memory import assemble_context, merge_output
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.exceptions import InvalidRunId, RunNotFound
from flask_squidmesh.ids import parse_prefix
from flask_squidmesh.lifecycle.states import AttemptStatus, RunStatus, StepRunStatus
from flask_squidmesh.store import (
    audit,
    branches,
    contexts,
    history,
    listing,
    runs,
    transaction,
)
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.history import AttemptRow, StepRunRow
from flask_squidmesh.store.listing import Filters
from flask_squidmesh.store.runs import RunRow, StateRow
from flask_squidmesh.types import Attempt, AuditEvent, Run, RunPage, StepRun, StepState

LARGEST_PAGE = 500
_BEGUN = (StepRunStatus.RUNNING, StepRunStatus.WAITING, StepRunStatus.PAUSED)
"""The statuses in which a step run's current attempt has begun and not ended."""


def load_run(
    runtime: Runtime,
    connection: transaction.Connection,
    run_id: str,
    *,
    include_history: bool = False,
) -> Run:
    """Return the run as it stands.

    Raises:
        RunNotFound: There is no such run.
    """
    found = runs.find_with_state(connection, run_id)
    if found is None:
        raise RunNotFound(run_id)
    run, state = found
    definition = runtime.definition(connection, run)
    if not include_history:
        (only,) = _build_all(runtime, connection, [found])
        return only
    active = branches.of_run(connection, run_id)
    ended = history.step_runs_of(connection, run_id)
    in_order = sorted(ended, key=lambda row: row.ordinal)
    chronicle = _Chronicle(
        definition,
        documents.decode(run.payload),
        active,
        in_order,
        history.attempts_of(connection, run_id),
    )
    events = tuple(_audit_event(row) for row in audit.of_run(connection, run_id))
    return _build(
        definition,
        run,
        state,
        active[0].step if active else None,
        assemble_context(
            definition,
            (
                (row.step, row.output)
                for row in in_order
                if row.outcome is not None and row.output is not None
            ),
        ),
        steps=chronicle.step_states(),
        step_runs=chronicle.step_runs,
        audit_events=events,
    )


def list_runs(
    runtime: Runtime,
    *,
    workflow: str | None = None,
    status: str | None = None,
    trigger: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> RunPage:
    """Return a page of runs, newest first.

    Raises:
        ValueError: The limit is not in 1..500, the status is none, or the cursor is not ours.
    """
    if type(limit) is not int or not 1 <= limit <= LARGEST_PAGE:
        raise ValueError(f"limit must be a whole number from 1 to {LARGEST_PAGE}; got {limit!r}")
    if status is not None and status not in tuple(RunStatus):
        raise ValueError(f"no such status: {status!r}; use one of {', '.join(RunStatus)}")
    before = None if after is None else _read_cursor(after)

    def work(connection: transaction.Connection) -> RunPage:
        filters = Filters(workflow=workflow, status=status, trigger=trigger)
        found = listing.list_newest(connection, filters, before=before, limit=limit + 1)
        page, has_more = found[:limit], len(found) > limit
        items = tuple(_build_all(runtime, connection, page))
        return RunPage(items, _make_cursor(page[-1][0]) if has_more else None)

    return transaction.read(runtime.database, work)


def list_by_prefix(runtime: Runtime, prefix: str, *, limit: int) -> tuple[Run, ...]:
    """Return up to *limit* runs whose id begins with *prefix*, newest first.

    Raises:
        InvalidRunId: No id begins like this.
    """
    ends = parse_prefix(prefix)
    if ends is None:
        raise InvalidRunId(prefix)

    def work(connection: transaction.Connection) -> tuple[Run, ...]:
        found = runs.list_between(connection, *ends, limit=limit)
        return tuple(_build_all(runtime, connection, found))

    return transaction.read(runtime.database, work)


def list_by_ids(
    runtime: Runtime, connection: transaction.Connection, run_ids: Sequence[str]
) -> dict[str, Run]:
    """Return the runs with these ids by their id; those that do not exist are left out."""
    found = runs.list_with_states(connection, run_ids)
    return {run.id: run for run in _build_all(runtime, connection, found)}


def _build_all(
    runtime: Runtime,
    connection: transaction.Connection,
    page: Sequence[tuple[RunRow, StateRow]],
) -> Iterable[Run]:
    definitions = {run.id: runtime.definition(connection, run) for run, _ in page}
    # Where a run stands is told of those that stand at one step; others may be at thousands.
    standing = [
        run.id
        for run, state in page
        if state.finished_at is None and definitions[run.id].mode == "transition"
    ]
    active = branches.steps_of(connection, standing) if standing else {}
    over = [run.id for run, state in page if state.finished_at is not None]
    kept = contexts.of_runs(connection, over) if over else {}
    # No run has an output before its first step has ended.
    begun = [
        run.id for run, state in page if state.status != RunStatus.PENDING and run.id not in kept
    ]
    outputs = history.outputs_of(connection, begun) if begun else {}
    for run, state in page:
        definition, document = definitions[run.id], kept.get(run.id)
        context = (
            assemble_context(definition, outputs.get(run.id, ()))
            if document is None
            else documents.decode(document)
        )
        yield _build(definition, run, state, active.get(run.id), context)


def _make_cursor(run: RunRow) -> str:
    return cursor.make(run.created_at, run.id)


def _read_cursor(text: object) -> tuple[datetime, str]:
    return cursor.read(text)


def _build(
    definition: Definition,
    run: RunRow,
    state: StateRow,
    active_step: str | None,
    context: Mapping[str, Any],
    **chronicle: Any,
) -> Run:
    last_error = None if state.last_error is None else documents.decode(state.last_error)
    return Run(
        id=run.id,
        workflow=run.workflow,
        definition_version=definition.version,
        trigger=run.trigger,
        status=state.status.value,
        payload=documents.decode(run.payload),
        context=context,
        current_step=_current_step(definition, state.status, active_step, last_error),
        last_error=last_error,
        replayed_from_run_id=run.replayed_from_run_id,
        created_at=run.created_at,
        updated_at=state.updated_at,
        finished_at=state.finished_at,
        **chronicle,
    )


def _current_step(
    definition: Definition,
    status: RunStatus,
    active_step: str | None,
    last_error: Mapping[str, Any] | None,
) -> str | None:
    if status == RunStatus.FAILED:
        return None if last_error is None else last_error.get("step")
    return active_step if definition.mode == "transition" else None


def _audit_event(row: audit.AuditRow) -> AuditEvent:
    return AuditEvent(
        type=row.type,
        step=row.step,
        actor=_decoded(row.actor),
        comment=_decoded(row.comment),
        metadata=_decoded(row.metadata),
        at=row.at,
    )


def _decoded(document: str | None) -> Any:
    return None if document is None else documents.decode(document)


class _Chronicle:
    """A run's step runs with their attempts, inputs and outputs."""

    def __init__(
        self,
        definition: Definition,
        payload: Mapping[str, Any],
        active: Sequence[Branch],
        in_order: Sequence[StepRunRow],
        attempts: Sequence[AttemptRow],
    ) -> None:
        self._definition = definition
        self._payload = payload
        self._in_order = in_order
        self._attempts: dict[tuple[str, int], list[Attempt]] = {}
        for row in attempts:
            self._attempts.setdefault((row.step, row.visit), []).append(_attempt(row))
        # By the order in which they became ready; within one moment, by declaration.
        everything: list[StepRunRow | Branch] = [*in_order, *active]
        activations = sorted(everything, key=lambda item: (item.horizon, item.slot))
        seen = self._inputs(sorted({item.horizon for item in activations}))
        self.step_runs = tuple(self._step_run(item, seen[item.horizon]) for item in activations)

    def _inputs(self, horizons: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """Return what there was to see at each horizon."""
        seen: dict[int, Mapping[str, Any]] = {}
        context: dict[str, Any] = {}
        rows = iter(self._in_order)
        row = next(rows, None)
        for horizon in horizons:
            while row is not None and row.ordinal <= horizon:
                if row.outcome is not None:
                    merge_output(context, self._definition.steps_by_name[row.step], row.output)
                row = next(rows, None)
            seen[horizon] = inputs.visible(self._payload, context)
        return seen

    def _step_run(self, item: StepRunRow | Branch, seen: Mapping[str, Any]) -> StepRun:
        spec = self._definition.steps_by_name[item.step]
        attempts = tuple(self._attempts.get((item.step, item.visit), ()))
        if isinstance(item, Branch):
            if item.status in _BEGUN:
                attempts += (_running_attempt(item),)
            return StepRun(
                step=item.step,
                kind=spec.kind,
                visit=item.visit,
                status=item.status.value,
                outcome=None,
                input=_input_of(spec, seen),
                output=None,
                attempts=attempts,
                due_at=_due_at(item),
                created_at=item.created_at,
                finished_at=None,
            )
        return StepRun(
            step=item.step,
            kind=spec.kind,
            visit=item.visit,
            status=item.status,
            outcome=item.outcome,
            input=_input_of(spec, seen),
            output=_decoded(item.output),
            attempts=attempts,
            due_at=None,
            created_at=item.created_at,
            finished_at=item.finished_at,
        )

    def step_states(self) -> tuple[StepState, ...]:
        """Return where each declared step stands, by its latest visit."""
        latest: dict[str, StepRun] = {}
        for step_run in self.step_runs:
            known = latest.get(step_run.step)
            if known is None or step_run.visit >= known.visit:
                latest[step_run.step] = step_run
        return tuple(_step_state(spec, latest.get(spec.name)) for spec in self._definition.steps)


def _step_state(spec: StepSpec, latest: StepRun | None) -> StepState:
    if latest is None:
        return StepState(
            step=spec.name,
            kind=spec.kind,
            status="not_started",
            depends_on=spec.depends_on,
            visit=0,
            input=None,
            output=None,
            last_error=None,
            attempts=(),
            due_at=None,
            created_at=None,
            finished_at=None,
        )
    errors = [attempt.error for attempt in latest.attempts if attempt.error is not None]
    return StepState(
        step=spec.name,
        kind=spec.kind,
        status=latest.status,
        depends_on=spec.depends_on,
        visit=latest.visit,
        input=latest.input,
        output=latest.output,
        last_error=errors[-1] if errors else None,
        attempts=latest.attempts,
        due_at=latest.due_at,
        created_at=latest.created_at,
        finished_at=latest.finished_at,
    )


def _input_of(spec: StepSpec, seen: Mapping[str, Any]) -> Any:
    """Return what the step saw; None where it sees nothing, or where that could not be built."""
    if spec.kind != "step":
        return None
    try:
        return dict(inputs.select(spec, seen))
    except inputs.MissingInput:
        return None


def _due_at(branch: Branch) -> datetime | None:
    """Return when something happens by itself: the timer, the retry, the end of the lease."""
    if branch.status in (StepRunStatus.WAITING, StepRunStatus.RETRYING):
        return branch.ready_at
    return branch.due_at if branch.status == StepRunStatus.RUNNING else None


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        number=row.number,
        status=row.status,
        error=_decoded(row.error),
        worker=row.worker,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _running_attempt(branch: Branch) -> Attempt:
    return Attempt(
        number=branch.attempt,
        status=AttemptStatus.RUNNING.value,
        error=None,
        worker=branch.worker,
        started_at=branch.started_at or branch.created_at,
        finished_at=None,
    )

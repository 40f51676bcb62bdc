"""What holds in every database, whatever has happened to the processes that wrote it.

Each invariant is a query for rows that break it. They hold at any moment
between transactions; `ENDED` ones only when everything has come to its end.
The statements are plain enough for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import sqlalchemy as sa

from flask_squidmesh import Workflow
from flask_squidmesh.lifecycle.states import ATTEMPT, RUN, STEP_RUN, RunStatus, terminal


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_OVER: Final = _listed(terminal(RUN))
_ENDED_STEP: Final = _listed(terminal(STEP_RUN))
_ENDED_ATTEMPT: Final = _listed(terminal(ATTEMPT))
_ENDED_STEP_BY: Final = {"completed": ("completed",), "failed": ("failed", "abandoned")}

INVARIANTS: Final[Mapping[str, str]] = {
    "a run has a state": """
        SELECT r.id FROM squidmesh_runs r
        LEFT JOIN squidmesh_run_states s ON s.run_id = r.id WHERE s.run_id IS NULL""",
    "an active run has a branch": f"""
        SELECT s.run_id, s.status FROM squidmesh_run_states s
        WHERE s.status NOT IN ({_OVER})
        AND NOT EXISTS (SELECT 1 FROM squidmesh_branches b WHERE b.run_id = s.run_id)""",
    "a run that is over has no branch, except where a sibling still executes": f"""
        SELECT b.run_id, b.step, b.status, s.status FROM squidmesh_branches b
        JOIN squidmesh_run_states s ON s.run_id = b.run_id
        WHERE s.status IN ({_OVER}) AND (b.status <> 'running' OR s.status <> 'failed')""",
    "a run being cancelled has nothing but executing branches": """
        SELECT b.run_id, b.step, b.status FROM squidmesh_branches b
        JOIN squidmesh_run_states s ON s.run_id = b.run_id
        WHERE s.status = 'cancelling' AND b.status <> 'running'""",
    "a pending run has branches that nobody has touched": """
        SELECT b.run_id, b.step, b.status FROM squidmesh_branches b
        JOIN squidmesh_run_states s ON s.run_id = b.run_id
        WHERE s.status = 'pending' AND (b.status <> 'pending' OR b.attempt > 0)""",
    "a run is paused exactly while its branch is": """
        SELECT s.run_id, s.status FROM squidmesh_run_states s
        JOIN squidmesh_branches b ON b.run_id = s.run_id
        WHERE (s.status = 'paused') <> (b.status = 'paused')""",
    "what waits for time or a worker is found by the ticker": """
        SELECT run_id, step, status FROM squidmesh_branches
        WHERE (due_at IS NULL) <> (status = 'paused')""",
    "the lease of an attempt has an owner": """
        SELECT run_id, step FROM squidmesh_branches
        WHERE status = 'running' AND (worker IS NULL OR started_at IS NULL OR attempt < 1)""",
    "a run that is over says when, and no other does": f"""
        SELECT run_id, status FROM squidmesh_run_states
        WHERE (finished_at IS NULL) = (status IN ({_OVER}))
        OR finished_at < created_at""",
    "an error is kept while retrying and after failing": """
        SELECT run_id, status FROM squidmesh_run_states
        WHERE (last_error IS NULL) = (status IN ('retrying', 'failed'))""",
    "an ended attempt says how it ended": f"""
        SELECT run_id, step, number, status FROM squidmesh_attempts
        WHERE status NOT IN ({_ENDED_ATTEMPT})
        OR (error IS NULL) = (status IN ('failed', 'abandoned'))
        OR finished_at < started_at""",
    "attempts end one after the other, without gaps": """
        SELECT run_id, COUNT(*), MAX(ordinal) FROM squidmesh_attempts
        GROUP BY run_id HAVING COUNT(*) <> MAX(ordinal) OR MIN(ordinal) <> 1""",
    "attempts are numbered from 1, without gaps": """
        SELECT run_id, step, visit, COUNT(*), MAX(number) FROM squidmesh_attempts
        GROUP BY run_id, step, visit
        HAVING COUNT(*) <> MAX(number) OR COUNT(DISTINCT number) <> COUNT(*)""",
    "an active attempt follows the ended ones": """
        SELECT b.run_id, b.step, b.visit, b.attempt, b.status FROM squidmesh_branches b
        WHERE b.attempt - CASE WHEN b.status IN ('running', 'waiting', 'paused') THEN 1 ELSE 0 END
        <> (SELECT COUNT(*) FROM squidmesh_attempts a
            WHERE a.run_id = b.run_id AND a.step = b.step AND a.visit = b.visit)""",
    "a later attempt has a larger token": """
        SELECT a.run_id, a.step, a.visit, a.number FROM squidmesh_attempts a
        JOIN squidmesh_attempts b ON b.run_id = a.run_id AND b.step = a.step
        AND b.visit = a.visit AND b.number > a.number AND b.fencing_token <= a.fencing_token""",
    "a step run is active or has ended, not both": """
        SELECT b.run_id, b.step, b.visit FROM squidmesh_branches b
        JOIN squidmesh_step_runs s
        ON s.run_id = b.run_id AND s.step = b.step AND s.visit = b.visit""",
    "visits are numbered from 1, without gaps": """
        SELECT run_id, step, COUNT(*), MAX(visit) FROM
        (SELECT run_id, step, visit FROM squidmesh_step_runs
         UNION ALL SELECT run_id, step, visit FROM squidmesh_branches) entered
        GROUP BY run_id, step HAVING COUNT(*) <> MAX(visit)""",
    "attempts belong to a step run": """
        SELECT a.run_id, a.step, a.visit FROM squidmesh_attempts a WHERE NOT EXISTS
        (SELECT 1 FROM squidmesh_step_runs s
         WHERE s.run_id = a.run_id AND s.step = a.step AND s.visit = a.visit)
        AND NOT EXISTS (SELECT 1 FROM squidmesh_branches b
         WHERE b.run_id = a.run_id AND b.step = a.step AND b.visit = a.visit)""",
    "only the last attempt of a completed step run has completed": """
        SELECT s.run_id, s.step, s.visit, s.status FROM squidmesh_step_runs s
        WHERE (SELECT COUNT(*) FROM squidmesh_attempts a
               WHERE a.run_id = s.run_id AND a.step = s.step AND a.visit = s.visit
               AND a.status = 'completed')
        <> CASE WHEN s.status = 'completed' THEN 1 ELSE 0 END""",
    "a step run ends with the attempt it names": """
        SELECT s.run_id, s.step, s.visit, s.status, a.status FROM squidmesh_step_runs s
        LEFT JOIN squidmesh_attempts a ON a.run_id = s.run_id AND a.ordinal = s.ordinal
        AND a.step = s.step AND a.visit = s.visit
        WHERE CASE s.status
              WHEN 'completed' THEN a.status IS NULL OR a.status <> 'completed'
              WHEN 'failed' THEN a.status IS NULL OR a.status NOT IN ('failed', 'abandoned')
              ELSE a.status IN ('completed', 'failed') AND a.number IS NULL END
        OR a.number <> (SELECT MAX(l.number) FROM squidmesh_attempts l
            WHERE l.run_id = s.run_id AND l.step = s.step AND l.visit = s.visit)""",
    "a completed step run has gone somewhere, or its run was over": """
        SELECT s.run_id, s.step, s.visit FROM squidmesh_step_runs s
        JOIN squidmesh_run_states r ON r.run_id = s.run_id
        WHERE s.status = 'completed' AND s.outcome IS NULL
        AND r.status NOT IN ('cancelling', 'cancelled', 'failed')""",
    "audit events are numbered from 1, without gaps": """
        SELECT run_id, COUNT(*), MAX(number) FROM squidmesh_audit_events
        GROUP BY run_id HAVING COUNT(*) <> MAX(number) OR MIN(number) <> 1""",
    "whoever decided has decided on a pause, and was the only one": """
        SELECT e.run_id, e.number, e.type FROM squidmesh_audit_events e
        WHERE e.type IN ('resumed', 'approved', 'rejected') AND NOT EXISTS
        (SELECT 1 FROM squidmesh_audit_events p WHERE p.run_id = e.run_id
         AND p.number = e.number - 1 AND p.type = 'paused' AND p.step = e.step)""",
    "a pause is answered, cancelled, or still there": """
        SELECT e.run_id, e.number FROM squidmesh_audit_events e
        JOIN squidmesh_run_states s ON s.run_id = e.run_id
        WHERE e.type = 'paused' AND s.status <> 'paused' AND NOT EXISTS
        (SELECT 1 FROM squidmesh_audit_events p
         WHERE p.run_id = e.run_id AND p.number = e.number + 1)""",
    "a run that was cancelled says who did it, once": """
        SELECT s.run_id, s.status FROM squidmesh_run_states s
        WHERE (SELECT COUNT(*) FROM squidmesh_audit_events e
               WHERE e.run_id = s.run_id AND e.type = 'cancelled')
        <> CASE WHEN s.status IN ('cancelling', 'cancelled') THEN 1 ELSE 0 END""",
    "a replay says so, once": """
        SELECT r.id FROM squidmesh_runs r
        WHERE (SELECT COUNT(*) FROM squidmesh_audit_events e
               WHERE e.run_id = r.id AND e.type = 'replayed')
        <> CASE WHEN r.replayed_from_run_id IS NULL THEN 0 ELSE 1 END""",
    "a cron window has one run": """
        SELECT workflow, "trigger", cron_window FROM squidmesh_runs
        WHERE cron_window IS NOT NULL
        GROUP BY workflow, "trigger", cron_window HAVING COUNT(*) > 1""",
    "a cron window with a run is behind its schedule": """
        SELECT r.id FROM squidmesh_runs r JOIN squidmesh_schedules s
        ON s.workflow = r.workflow AND s."trigger" = r."trigger"
        WHERE r.cron_window >= s.next_at OR r.cron_window > s.last_window""",
}

AT_THE_END: Final[Mapping[str, str]] = {
    "every run is over": f"""
        SELECT run_id, status FROM squidmesh_run_states WHERE status NOT IN ({_OVER})""",
    "nothing is active": "SELECT run_id, step, status FROM squidmesh_branches",
}

# A transition workflow is one thread: two step runs that begin at the same point are a fork.
_ONE_AFTER_THE_OTHER: Final = """
    SELECT s.run_id, s.horizon, COUNT(*) FROM squidmesh_step_runs s
    JOIN squidmesh_runs r ON r.id = s.run_id WHERE r.workflow = :workflow
    GROUP BY s.run_id, s.horizon HAVING COUNT(*) > 1"""

_MISSING_OF_JOIN: Final = f"""
    SELECT j.run_id, j.step, j.missing FROM squidmesh_joins j
    JOIN squidmesh_runs r ON r.id = j.run_id
    WHERE r.workflow = :workflow AND j.step = :step AND j.missing <> :needs
    - (SELECT COUNT(*) FROM squidmesh_step_runs s WHERE s.run_id = j.run_id
       AND s.status = '{RunStatus.COMPLETED.value}' AND s.outcome = 'ok' AND s.step IN :steps)"""

_ENTERED_TOO_EARLY: Final = """
    SELECT e.run_id, e.step FROM
    (SELECT run_id, step FROM squidmesh_step_runs WHERE status <> 'cancelled'
     UNION ALL SELECT run_id, step FROM squidmesh_branches) e
    JOIN squidmesh_runs r ON r.id = e.run_id
    WHERE r.workflow = :workflow AND e.step = :step AND :needs
    <> (SELECT COUNT(*) FROM squidmesh_step_runs s WHERE s.run_id = e.run_id
        AND s.status = 'completed' AND s.step IN :steps)"""


def violations(
    connection: sa.Connection,
    workflows: Iterable[type[Workflow]],
    *,
    at_the_end: bool,
    more: Mapping[str, str] | None = None,
) -> list[str]:
    """Return a line for each row that breaks an invariant."""
    plain = {**INVARIANTS, **(AT_THE_END if at_the_end else {}), **(more or {})}
    found = []
    for name, query in plain.items():
        found += [f"{name}: {tuple(row)}" for row in connection.execute(sa.text(query))]
    for name, statement, values in _of_definitions(workflows):
        rows = connection.execute(statement, values)
        found += [f"{name}: {tuple(row)}" for row in rows]
    return found


def _of_definitions(
    workflows: Iterable[type[Workflow]],
) -> Iterator[tuple[str, sa.TextClause, dict[str, object]]]:
    for workflow in workflows:
        definition = workflow.definition
        if definition.mode == "transition":
            yield (
                "a run without joins does one thing at a time",
                sa.text(_ONE_AFTER_THE_OTHER),
                {"workflow": definition.name},
            )
            continue
        for spec in definition.steps:
            if not spec.depends_on:
                continue
            values = {
                "workflow": definition.name,
                "step": spec.name,
                "needs": len(spec.depends_on),
                "steps": list(spec.depends_on),
            }
            expanding: sa.BindParameter[object] = sa.bindparam("steps", expanding=True)
            for name, query in (
                ("a join misses what has not completed", _MISSING_OF_JOIN),
                ("a step begins after all it depends on", _ENTERED_TOO_EARLY),
            ):
                yield name, sa.text(query).bindparams(expanding), values

"""Who may see and do what: the host's callback, asked before anything else is looked at."""

from __future__ import annotations

from flask import current_app

from flask_squidmesh.current import Actor
from flask_squidmesh.exceptions import InvalidRunId, RunNotFound
from flask_squidmesh.operations import find_actor, inspect_run, is_authority_there
from flask_squidmesh.types import Run
from flask_squidmesh.ui.problems import forbidden


class Visitor:
    """Whoever makes the request; each question about them is asked once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str | None], Actor | None] = {}

    def find_actor(self, action: str, run: Run | None = None) -> Actor | None:
        """Return as whom they may carry out *action* on *run*; None: they may not."""
        key = (action, None if run is None else run.id)
        if key not in self._answers:
            self._answers[key] = find_actor(action, run)
        return self._answers[key]

    def may(self, action: str, run: Run | None = None) -> bool:
        """Return whether they may carry out *action* on *run*."""
        return self.find_actor(action, run) is not None


def admit(action: str, run_id: str | None) -> tuple[Visitor, Run | None]:
    """Return the visitor, who may carry out *action*, and the run it is about, if any.

    Whether the run exists is told only to those who may know: until then, a
    missing one is asked about as None.

    Raises:
        Refused: They may not.
        InvalidRunId, RunNotFound: They may, but there is no such run.
    """
    if not is_authority_there():
        current_app.logger.warning(
            "flask_squidmesh refused %s in the dashboard: nobody decides who may do it; register "
            "a function with @squidmesh.authorize",
            action,
        )
        raise forbidden()
    run: Run | None = None
    missing: InvalidRunId | RunNotFound | None = None
    if run_id is not None:
        try:
            run = inspect_run(run_id)
        except (InvalidRunId, RunNotFound) as error:
            missing = error
    visitor = Visitor()
    if not visitor.may(action, run):
        raise forbidden()
    if missing is not None:
        raise missing
    return visitor, run

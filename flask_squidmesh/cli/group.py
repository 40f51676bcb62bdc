"""The group itself: every command gets the application's context, and every refusal a sentence.

Exit codes: 0 done, 1 refused or problems found, 2 wrong usage. What is
refused is one text on the error stream, without a traceback.
"""

from __future__ import annotations

from typing import Any, Final

import click
from flask import has_app_context
from flask.cli import AppGroup, ScriptInfo

from flask_squidmesh.cli.output import printable
from flask_squidmesh.current import state
from flask_squidmesh.engine.survey import Failure, said_by
from flask_squidmesh.exceptions import (
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    RunNotFound,
    SquidMeshError,
    UnknownTrigger,
    UnknownWorkflow,
    WrongStepKind,
)

_HINTS: Final[dict[type[SquidMeshError], str]] = {
    InvalidDecision: "Say who with --actor, and give --metadata as a JSON object.",
    InvalidRunId: "RUN is the id of a run, or its first digits: flask squidmesh runs",
    InvalidTransition: "What it allows now: flask squidmesh explain RUN",
    RunNotFound: "Which runs there are: flask squidmesh runs",
    UnknownTrigger: "Which triggers there are: flask squidmesh workflows",
    UnknownWorkflow: "Which workflows there are: flask squidmesh workflows",
    WrongStepKind: "An approval is answered by 'flask squidmesh approve' or 'reject', "
    "a pause by 'flask squidmesh unblock'.",
}
"""The same remedies in the words of the command line."""


class SquidmeshGroup(AppGroup):
    """`flask squidmesh`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke a command in the application's context, which Flask has not always pushed.

        The group is known without the application, by an entry point: so also
        what the application can not be created for is a refusal, and so is an
        application that does not have the extension.
        """
        try:
            if not has_app_context():
                ctx.with_resource(ctx.ensure_object(ScriptInfo).load_app().app_context())
            state()
            return super().invoke(ctx)
        except SquidMeshError as refusal:
            raise click.ClickException(_said(refusal)) from refusal
        except Failure as failure:
            raise click.ClickException(
                f"the database refused, or can not be reached: {said_by(failure)}\n"
                "Check SQLALCHEMY_DATABASE_URI and whether the server runs: flask squidmesh check"
            ) from failure


def _said(refusal: SquidMeshError) -> str:
    lines = [printable(line) for line in str(refusal).splitlines()]
    hint = _HINTS.get(type(refusal))
    return "\n".join(lines if hint is None else [*lines, hint])

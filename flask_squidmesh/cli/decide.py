"""`flask squidmesh approve | reject | unblock | cancel | replay`: what people decide."""

from __future__ import annotations

from typing import Any, Final

import click

from flask_squidmesh.cli.arguments import (
    decision_options,
    find_run_id,
    json_flag,
    run_argument,
)
from flask_squidmesh.cli.output import cell, coloured, print_json, say
from flask_squidmesh.operations import (
    approve_run,
    cancel_run,
    reject_run,
    replay_run,
    unblock_run,
)
from flask_squidmesh.types import Run


@click.command("approve")
@run_argument
@decision_options("actor", "comment", "metadata")
@json_flag
def approve(*, run: str, as_json: bool, **said: Any) -> None:
    """Approve a run that waits for a decision; it takes the ok route.

    \b
    Example:
      flask squidmesh approve 0198c2f1 --actor jane --comment 'checked by phone'
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    _show("Approved", approve_run(find_run_id(run), **said), as_json=as_json)


@click.command("reject")
@run_argument
@decision_options("actor", "comment", "metadata")
@json_flag
def reject(*, run: str, as_json: bool, **said: Any) -> None:
    """Reject a run that waits for a decision; it takes the error route.

    \b
    Example:
      flask squidmesh reject 0198c2f1 --actor jane --metadata '{"ticket": 42}'
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    _show("Rejected", reject_run(find_run_id(run), **said), as_json=as_json)


@click.command("unblock")
@run_argument
@decision_options("actor", "comment", "metadata")
@json_flag
def unblock(*, run: str, as_json: bool, **said: Any) -> None:
    """Let a run go on that stands at a pause.

    \b
    Example:
      flask squidmesh unblock 0198c2f1 --actor jane
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    _show("Unblocked", unblock_run(find_run_id(run), **said), as_json=as_json)


@click.command("cancel")
@run_argument
@decision_options("actor", "comment")
@json_flag
def cancel(*, run: str, as_json: bool, **said: Any) -> None:
    """Cancel a run: at once, or when the step that is executing ends.

    \b
    Example:
      flask squidmesh cancel 0198c2f1 --actor jane --comment 'sent twice'
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    _show("Cancelled", cancel_run(find_run_id(run), **said), as_json=as_json)


@click.command("replay")
@run_argument
@decision_options("actor")
@json_flag
def replay(*, run: str, as_json: bool, actor: str | None) -> None:
    """Start a new run from the payload of another, which stays as it is.

    \b
    Example:
      flask squidmesh replay 0198c2f1 --actor jane
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    source = find_run_id(run)
    new = replay_run(source, actor=actor)
    _show(f"Replayed {source}", new, as_json=as_json)


def _show(done: str, run: Run, *, as_json: bool) -> None:
    if as_json:
        print_json(run.to_dict())
        return
    where = "" if run.current_step is None else f", at {cell(run.current_step)}"
    say(f"{done}: run {run.id} of {cell(run.workflow)} is {coloured(run.status)}{where}.")


ALL: Final = (approve, reject, unblock, cancel, replay)

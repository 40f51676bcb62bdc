"""Arguments and options that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import click

from flask_squidmesh.cli.output import cell
from flask_squidmesh.current import state
from flask_squidmesh.exceptions import RunNotFound
from flask_squidmesh.ids import parse_id

_Command = TypeVar("_Command", bound=Callable[..., Any])

_CANDIDATES: Final = 10


def _read_json(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    """Return the data that *text* stands for; what is not JSON is wrong usage."""
    if text is None:
        return None
    if text == "-":
        text = sys.stdin.read()
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(
            f"not JSON ({error}); quote it for the shell, as in '{{\"key\": 1}}'"
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


run_argument = click.argument("run", metavar="RUN")
json_flag = click.option("--json", "as_json", is_flag=True, help="Print documents for programs.")
payload_option = click.option(
    "--payload",
    metavar="JSON",
    callback=_read_json,
    help="The payload, an object; '-' reads it from the standard input.",
)


def decision_options(*names: str) -> Callable[[_Command], _Command]:
    """Add those of `--actor`, `--comment` and `--metadata` that are named, in this order."""

    def add(command: _Command) -> _Command:
        for name in reversed(names):
            command = _DECISION[name](command)
        return command

    return add


_DECISION: Final[dict[str, Callable[[Any], Any]]] = {
    "actor": click.option("--actor", metavar="NAME", help="Who does it; kept with the run."),
    "comment": click.option("--comment", metavar="TEXT", help="Why; kept with the run."),
    "metadata": click.option(
        "--metadata", metavar="JSON", callback=_read_json, help="Facts to keep: an object."
    ),
}


def find_run_id(text: str) -> str:
    """Return the id of the run that *text*, an id or the beginning of one, stands for.

    Raises:
        InvalidRunId: No id begins like this.
        RunNotFound: No run's id does.
        click.ClickException: Those of several runs do; names them.
    """
    whole = parse_id(text)
    if whole is not None:
        return whole
    found = state().engine().list_runs_by_prefix(text, limit=_CANDIDATES + 1)
    if not found:
        raise RunNotFound(text)
    if len(found) == 1:
        return found[0].id
    lines = [
        f"  {run.id}  {cell(run.workflow)}  {run.status}  {cell(run.created_at)}"
        for run in found[:_CANDIDATES]
    ]
    more = ["  ..."] if len(found) > _CANDIDATES else []
    raise click.ClickException(
        "\n".join([f"{text!r} is the beginning of several runs; give more of it:", *lines, *more])
    )

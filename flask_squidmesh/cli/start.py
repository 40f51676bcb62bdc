"""`flask squidmesh start`: starts runs."""

from __future__ import annotations

from typing import Any

import click

from flask_squidmesh.cli.arguments import json_flag, payload_option
from flask_squidmesh.cli.output import cell, print_json, say
from flask_squidmesh.operations import start_run


@click.command("start")
@click.argument("workflow", metavar="WORKFLOW")
@payload_option
@click.option("--trigger", metavar="NAME", help="One of its triggers; by default the first.")
@json_flag
def start(*, workflow: str, payload: Any, trigger: str | None, as_json: bool) -> None:
    """Start a run of a workflow.

    The payload is checked against the trigger; a worker takes the run from
    here.

    \b
    Examples:
      flask squidmesh start daily_digest
      flask squidmesh start payment_recovery --payload '{"invoice_id": "7"}'
      flask squidmesh start payment_recovery --payload=- < payload.json
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    run = start_run(workflow, payload, trigger=trigger)
    if as_json:
        print_json(run.to_dict())
        return
    say(f"Run {run.id} of {cell(run.workflow)} is {run.status}.")
    say(f"Follow it: flask squidmesh watch {run.id}")

"""The routes: each is one row of `ROUTES`, with what it shows and what it changes."""

from __future__ import annotations

import json
from typing import Any, Final

from flask import Response, request

from flask_squidmesh.operations import inspect_run
from flask_squidmesh.ui import answers, changes
from flask_squidmesh.ui.pages import decision as decisions
from flask_squidmesh.ui.pages import inbox as inbox_page
from flask_squidmesh.ui.pages import overview as overview_page
from flask_squidmesh.ui.pages import run as run_page
from flask_squidmesh.ui.pages import runs as runs_page
from flask_squidmesh.ui.pages import start as start_page
from flask_squidmesh.ui.pages import step as step_page
from flask_squidmesh.ui.pages import workflows as workflows_page
from flask_squidmesh.ui.problems import Refused, forbidden
from flask_squidmesh.ui.route import Call, Route


def overview(call: Call) -> Response:
    """Show all runs at a glance."""
    return answers.page(call, "overview.html", page=overview_page.build(call))


def inbox(call: Call) -> Response:
    """Show what waits for people."""
    after = request.args.get("after") or None
    return answers.page(call, "inbox.html", page=inbox_page.build(call, after))


def runs(call: Call) -> Response:
    """Show a page of runs; a beginning of an id that one run has leads to it."""
    model = runs_page.build(call, request.args.to_dict())
    if model.chosen["find"] and len(model.rows) == 1 and model.rows[0].url is not None:
        return answers.see_other(".run", run_id=model.rows[0].id)
    return answers.page(call, "runs.html", page=model)


def run(call: Call) -> Response:
    """Show a run."""
    model = run_page.build(call, request.args.get("rows"))
    return answers.page(call, "run.html", page=model)


def step(call: Call) -> Response:
    """Show a step of a run."""
    model = step_page.build(call, request.args.get("visit"))
    return answers.page(call, "step.html", page=model)


def data(call: Call) -> Response:
    """Give payload, context, an input or an output as a file."""
    found = call.require_run()
    if not call.visitor.may("runs:payload", found):
        raise forbidden()
    of = call.arguments["of"]
    full = inspect_run(found.id, include_history=True)
    known: dict[str, Any] = {"payload": full.payload, "context": full.context}
    visit = request.args.get("visit")
    for each in full.step_runs or ():
        if each.step == request.args.get("step") and str(each.visit) == visit:
            known.update(input=each.input, output=each.output)
    if of not in known:
        raise Refused(404, "No such data", "This run has no data of this name.")
    # In ASCII, as it is stored: any text survives.
    return answers.document(f"{found.id}-{of}", json.dumps(known[of], indent=2))


def open_decision(call: Call) -> Response:
    """Lead to the question at which the run stands, or to the run."""
    found = call.require_run()
    at = decisions.find_open(found.id)
    if at is None:
        return answers.see_other(".run", run_id=found.id)
    return answers.see_other(".decision", run_id=found.id, step=at[0], visit=at[1])


def decision(call: Call) -> Response:
    """Show a question, open or answered; nothing is decided by looking at it."""
    model = decisions.decision(call, call.arguments["step"], call.arguments["visit"])
    return answers.page(call, "decision.html", page=model)


def cancel(call: Call) -> Response:
    """Show what cancelling the run would do."""
    return _change(call, "cancel")


def replay(call: Call) -> Response:
    """Show what replaying the run would do."""
    return _change(call, "replay")


def _change(call: Call, verb: str) -> Response:
    if not call.visitor.may(f"runs:{verb}", call.run):
        raise forbidden()
    return answers.page(call, "change.html", verb=verb, page=decisions.change(call, verb))


def workflows(call: Call) -> Response:
    """Show the registered workflows."""
    return answers.page(call, "workflows.html", rows=workflows_page.build_list(call))


def workflow(call: Call) -> Response:
    """Show a workflow."""
    return answers.page(call, "workflow.html", page=workflows_page.build(call))


def start(call: Call) -> Response:
    """Show the form that starts a run."""
    model = start_page.build(call, trigger=request.args.get("trigger"))
    return answers.page(call, "start.html", live=False, page=model)


_RUN: Final = "/runs/<run_id>"

ROUTES: Final = (
    Route("/", "overview", "runs:list", overview),
    Route("/inbox", "inbox", "runs:list", inbox),
    Route("/runs", "runs", "runs:list", runs),
    Route(_RUN, "run", "runs:read", run),
    Route(f"{_RUN}/steps/<step>", "step", "runs:read", step),
    Route(f"{_RUN}/data/<of>", "data", "runs:read", data),
    Route(f"{_RUN}/decision", "open_decision", "runs:read", open_decision),
    Route(f"{_RUN}/decisions/<step>/<int:visit>", "decision", "runs:read", decision),
    # A GET here, as after a login that came in between, leads to the question.
    Route(
        f"{_RUN}/approve", "approve", "runs:read", open_decision, "runs:approve", changes.approve
    ),
    Route(f"{_RUN}/reject", "reject", "runs:read", open_decision, "runs:reject", changes.reject),
    Route(
        f"{_RUN}/unblock", "unblock", "runs:read", open_decision, "runs:unblock", changes.unblock
    ),
    Route(f"{_RUN}/cancel", "cancel", "runs:read", cancel, "runs:cancel", changes.cancel),
    Route(f"{_RUN}/replay", "replay", "runs:read", replay, "runs:replay", changes.replay),
    Route("/workflows", "workflows", "workflows:list", workflows),
    Route("/workflows/<name>", "workflow", "workflows:list", workflow),
    Route("/workflows/<name>/start", "start", "runs:start", start, "runs:start", changes.start),
)
"""Every route of the dashboard, below where it is mounted."""

"""The routes: each is one row of `ROUTES`, and a view that calls one operation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import Response, request, url_for
from marshmallow import Schema

from flask_squidmesh.http import access, openapi, requests, schemas
from flask_squidmesh.http.problems import Refused
from flask_squidmesh.http.route import Call, Route
from flask_squidmesh.operations import (
    approve_run,
    cancel_run,
    explain_run,
    inspect_run,
    inspect_run_graph,
    list_runs,
    list_workflows,
    reject_run,
    replay_run,
    start_run,
    unblock_run,
)
from flask_squidmesh.types import Run


def read_workflows(_call: Call) -> Response:
    """Answer with the definitions of all workflows."""
    items = [workflow.definition.to_dict() for workflow in list_workflows()]
    return _answer({"items": items, "next": None})


def start(call: Call) -> Response:
    """Start a run."""
    key = requests.read_idempotency_key()
    body = requests.read_body(schemas.StartBodySchema, invalid="payload_invalid")
    run = start_run(
        call.arguments["name"], body["payload"], trigger=body.get("trigger"), idempotency_key=key
    )
    return _created(run)


def read_runs(_call: Call) -> Response:
    """Answer with a page of runs."""
    query = requests.read_query(schemas.RunsQuerySchema)
    try:
        page = list_runs(**query)
    except ValueError:
        # All else was checked.
        detail = "The query is not acceptable; see the errors."
        errors = {"after": ["This is not the `next` of a page."]}
        raise Refused("invalid_query", detail, errors=errors) from None
    headers = {}
    if page.next is not None:
        parameters: dict[str, Any] = {**request.args, "after": page.next}
        following = url_for(".read_runs", **parameters)
        headers["Link"] = f'<{following}>; rel="next"'
    items = [access.shown(run) for run in page]
    return _answer({"items": items, "next": page.next}, headers=headers)


def read_run(call: Call) -> Response:
    """Answer with a run."""
    query = requests.read_query(schemas.RunQuerySchema)
    include_history = query.get("include_history") in ("1", "true")
    run = inspect_run(call.require_run().id, include_history=include_history)
    return _answer(access.shown(run))


def read_explanation(call: Call) -> Response:
    """Answer with why a run is where it is."""
    run = call.require_run()
    explanation = explain_run(run.id).to_dict()
    if not access.may_see_payload(run):
        evidence = explanation["evidence"]
        evidence["run"] = access.without_payload(evidence["run"])
        if evidence["step_run"] is not None:
            evidence["step_run"] = access.without_data(evidence["step_run"])
    return _answer(explanation)


def read_graph(call: Call) -> Response:
    """Answer with the graph of a run."""
    return _answer(inspect_run_graph(call.require_run().id).to_dict())


def approve(call: Call) -> Response:
    """Approve what a run waits for."""
    return _decide(call, approve_run, schemas.DecisionBodySchema)


def reject(call: Call) -> Response:
    """Reject what a run waits for."""
    return _decide(call, reject_run, schemas.DecisionBodySchema)


def unblock(call: Call) -> Response:
    """Let a run go on that stands at a pause."""
    return _decide(call, unblock_run, schemas.DecisionBodySchema)


def cancel(call: Call) -> Response:
    """Cancel a run."""
    return _decide(call, cancel_run, schemas.CancelBodySchema)


def replay(call: Call) -> Response:
    """Start a new run from what another was asked for."""
    key = requests.read_idempotency_key()
    requests.read_body(schemas.ReplayBodySchema, invalid="invalid_decision")
    return _created(replay_run(call.require_run().id, actor=call.actor, idempotency_key=key))


def describe(_call: Call) -> Response:
    """Answer with the OpenAPI document of these routes."""
    here = url_for(".describe")
    try:
        document = openapi.document(ROUTES, root=here.removesuffix("/openapi.json"))
    except openapi.ApispecMissing as error:
        raise Refused("openapi_unavailable", str(error)) from error
    return _answer(document)


def _decide(call: Call, operation: Callable[..., Run], schema: type[Schema]) -> Response:
    key = requests.read_idempotency_key()
    said = requests.read_body(schema, invalid="invalid_decision")
    run = operation(call.require_run().id, actor=call.actor, idempotency_key=key, **said)
    return _answer(access.shown(run))


def _created(run: Run) -> Response:
    # Relative, as RFC 9110 has it: right behind any proxy that keeps the path.
    location = url_for(".read_run", run_id=run.id)
    return _answer(access.shown(run), status=201, headers={"Location": location})


def _answer(
    document: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    # Not by the host's provider: whatever it is, what was stored is what is told, in ASCII.
    text = json.dumps(document, separators=(",", ":"))
    return Response(text, status, headers, mimetype="application/json")


_DECISION_CODES: Final = ("invalid_transition", "wrong_step_kind")

ROUTES: Final = (
    Route(
        "/workflows",
        "GET",
        "workflows:list",
        read_workflows,
        "List the registered workflows",
        schemas.WorkflowPageSchema,
    ),
    Route(
        "/workflows/<name>/runs",
        "POST",
        "runs:start",
        start,
        "Start a run",
        schemas.RunSchema,
        status=201,
        body=schemas.StartBodySchema,
        invalid="payload_invalid",
        codes=("unknown_workflow", "unknown_trigger"),
    ),
    Route(
        "/runs",
        "GET",
        "runs:list",
        read_runs,
        "List runs, newest first",
        schemas.RunPageSchema,
        query=schemas.RunsQuerySchema,
    ),
    Route(
        "/runs/<run_id>",
        "GET",
        "runs:read",
        read_run,
        "Read a run",
        schemas.RunSchema,
        query=schemas.RunQuerySchema,
    ),
    Route(
        "/runs/<run_id>/explanation",
        "GET",
        "runs:read",
        read_explanation,
        "Read why a run is where it is, and what can be done",
        schemas.ExplanationSchema,
    ),
    Route(
        "/runs/<run_id>/graph",
        "GET",
        "runs:read",
        read_graph,
        "Read the graph a run follows",
        schemas.RunGraphSchema,
    ),
    Route(
        "/runs/<run_id>/approve",
        "POST",
        "runs:approve",
        approve,
        "Approve a run that stands at an approval",
        schemas.RunSchema,
        body=schemas.DecisionBodySchema,
        codes=_DECISION_CODES,
    ),
    Route(
        "/runs/<run_id>/reject",
        "POST",
        "runs:reject",
        reject,
        "Reject a run that stands at an approval",
        schemas.RunSchema,
        body=schemas.DecisionBodySchema,
        codes=_DECISION_CODES,
    ),
    Route(
        "/runs/<run_id>/unblock",
        "POST",
        "runs:unblock",
        unblock,
        "Let a run go on that stands at a pause",
        schemas.RunSchema,
        body=schemas.DecisionBodySchema,
        codes=_DECISION_CODES,
    ),
    Route(
        "/runs/<run_id>/cancel",
        "POST",
        "runs:cancel",
        cancel,
        "Cancel a run",
        schemas.RunSchema,
        body=schemas.CancelBodySchema,
        codes=("invalid_transition",),
    ),
    Route(
        "/runs/<run_id>/replay",
        "POST",
        "runs:replay",
        replay,
        "Start a new run from what another was asked for",
        schemas.RunSchema,
        status=201,
        body=schemas.ReplayBodySchema,
        codes=("definition_unavailable",),
    ),
    Route(
        "/openapi.json",
        "GET",
        "api:describe",
        describe,
        "Read this document",
        schemas.OpenApiSchema,
    ),
)
"""Every route of the blueprint."""

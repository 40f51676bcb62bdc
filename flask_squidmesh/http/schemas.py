"""The marshmallow schemas of the JSON interface: what comes in, and what goes out.

Those of the requests load and check what a client sends. Those of the answers
describe `to_dict()` of the results, in the OpenAPI document; a test compares
them with the fields of the results.
"""

from __future__ import annotations

from typing import Any, Final

from marshmallow import EXCLUDE, RAISE, Schema, fields, validate

from flask_squidmesh.engine.explain import ACTIONS
from flask_squidmesh.http.problems import STATUSES
from flask_squidmesh.lifecycle.states import AttemptStatus, RunStatus, StepRunStatus

LARGEST_PAGE: Final = 500
_KINDS: Final = ("step", "wait", "log", "pause", "approval")
_NO_NUL: Final = validate.Regexp(r"^[^\x00]*$", error="May not contain NUL.")


def _text(*, null: bool = False, of: Any = None, **metadata: Any) -> fields.String:
    choices = None if of is None else validate.OneOf(tuple(of))
    return fields.String(required=True, allow_none=null, validate=choices, metadata=metadata)


def _number(*, null: bool = False) -> fields.Float:
    return fields.Float(required=True, allow_none=null)


def _integer() -> fields.Integer:
    return fields.Integer(required=True)


def _truth() -> fields.Boolean:
    return fields.Boolean(required=True)


def _time(*, null: bool = False) -> fields.String:
    return _text(null=null, format="date-time")


def _id(*, null: bool = False) -> fields.String:
    return _text(null=null, format="uuid")


def _any(description: str) -> fields.Raw:
    return fields.Raw(required=True, allow_none=True, metadata={"description": description})


def _object(*, null: bool = False, **metadata: Any) -> fields.Dict:
    return fields.Dict(required=True, allow_none=null, metadata=metadata)


def _names() -> fields.List[str]:
    return fields.List(fields.String(), required=True)


def _one(schema: type[Schema], *, null: bool = False) -> fields.Nested:
    return fields.Nested(schema, required=True, allow_none=null)


def _many(schema: type[Schema], *, null: bool = False) -> fields.List[Any]:
    return fields.List(fields.Nested(schema), required=True, allow_none=null)


class _Request(Schema):
    """Keys that are not known are refused."""

    class Meta:
        unknown = RAISE


class _Answer(Schema):
    """A later release may add keys."""

    class Meta:
        unknown = EXCLUDE


class StartBodySchema(_Request):
    payload = fields.Dict(
        required=True, metadata={"description": "What the trigger's contract asks for."}
    )
    trigger = fields.String(
        metadata={"description": "Which trigger; the first one that is declared if left out."}
    )


class CancelBodySchema(_Request):
    comment = fields.String(
        metadata={"description": "Why; kept with who did it. Not blank.", "pattern": r"\S"}
    )


class DecisionBodySchema(CancelBodySchema):
    metadata = fields.Dict(metadata={"description": "Anything else to keep with the decision."})


class ReplayBodySchema(_Request):
    pass


class RunQuerySchema(_Request):
    include_history = fields.String(
        validate=validate.OneOf(("0", "1", "false", "true")),
        metadata={"description": "Whether steps, step_runs and audit_events are told."},
    )


class RunsQuerySchema(_Request):
    workflow = fields.String(validate=_NO_NUL, metadata={"description": "Only its runs."})
    status = fields.String(
        validate=validate.OneOf(tuple(RunStatus)),
        metadata={"description": "Only runs that have this status."},
    )
    trigger = fields.String(
        validate=_NO_NUL, metadata={"description": "Only runs that it has started."}
    )
    limit = fields.Integer(
        load_default=50,
        validate=validate.Range(1, LARGEST_PAGE),
        metadata={"description": "How many runs a page has."},
    )
    after = fields.String(metadata={"description": "The `next` of the page before."})


class ErrorSchema(_Answer):
    code = _text()
    message = _text()
    type = _text(null=True)
    details = _any("Whatever the raiser gave.")
    retryable = _truth()
    step = fields.String(metadata={"description": "In a run: the step it happened in."})


class AttemptSchema(_Answer):
    number = _integer()
    status = _text(of=AttemptStatus)
    error = _one(ErrorSchema, null=True)
    worker = _text(null=True)
    started_at = _time()
    finished_at = _time(null=True)


class StepRunSchema(_Answer):
    step = _text()
    kind = _text(of=_KINDS)
    visit = _integer()
    status = _text(of=StepRunStatus)
    outcome = _text(null=True, of=("ok", "error"))
    input = _any("What the step saw; null without runs:payload.")
    output = _any("What it returned; null without runs:payload.")
    attempts = _many(AttemptSchema)
    due_at = _time(null=True)
    created_at = _time()
    finished_at = _time(null=True)


class StepStateSchema(_Answer):
    step = _text()
    kind = _text(of=_KINDS)
    status = _text(of=("not_started", *StepRunStatus))
    depends_on = _names()
    visit = _integer()
    input = _any("What the step saw; null without runs:payload.")
    output = _any("What it returned; null without runs:payload.")
    last_error = _one(ErrorSchema, null=True)
    attempts = _many(AttemptSchema)
    due_at = _time(null=True)
    created_at = _time(null=True)
    finished_at = _time(null=True)


class AuditEventSchema(_Answer):
    type = _text(of=("paused", "resumed", "approved", "rejected", "cancelled", "replayed"))
    step = _text(null=True)
    actor = _any("A text or an object: who did it.")
    comment = _text(null=True)
    metadata = _object(null=True)
    at = _time()


class RunSchema(_Answer):
    id = _id()
    workflow = _text()
    definition_version = _text(null=True)
    trigger = _text()
    status = _text(of=RunStatus)
    payload = _object(null=True, description="Null without runs:payload.")
    context = _object(null=True, description="Outputs so far; null without runs:payload.")
    current_step = _text(null=True)
    last_error = _one(ErrorSchema, null=True)
    replayed_from_run_id = _id(null=True)
    created_at = _time()
    updated_at = _time()
    finished_at = _time(null=True)
    steps = _many(StepStateSchema, null=True)
    step_runs = _many(StepRunSchema, null=True)
    audit_events = _many(AuditEventSchema, null=True)


class RunPageSchema(_Answer):
    items = _many(RunSchema)
    next = _text(null=True, description="The cursor of the next page; null: there is none.")


class EvidenceSchema(_Answer):
    run = _one(RunSchema)
    step_run = _one(StepRunSchema, null=True)
    latest_attempt = _one(AttemptSchema, null=True)
    dependencies = _object(description="Step to status.")


class ExplanationSchema(_Answer):
    status = _text(of=RunStatus)
    reason = _text(of=ACTIONS)
    step = _text(null=True)
    details = _object(description="What belongs to the reason.")
    next_actions = _names()
    evidence = _one(EvidenceSchema)


class GraphNodeSchema(_Answer):
    id = _text()
    kind = _text(of=(*_KINDS, "complete"))
    status = _text(of=("not_started", *StepRunStatus))
    visits = _integer()
    current = _truth()


class GraphEdgeSchema(_Answer):
    id = _text()
    from_ = fields.String(required=True, data_key="from")
    to = _text()
    type = _text(of=("transition", "dependency"))
    on = _text(null=True, of=("ok", "error"))
    status = _text(of=("selected", "skipped", "pending", "blocked"))


class RunGraphSchema(_Answer):
    run_id = _id()
    workflow = _text()
    status = _text(of=RunStatus)
    nodes = _many(GraphNodeSchema)
    edges = _many(GraphEdgeSchema)


class TriggerSchema(_Answer):
    name = _text()
    kind = _text(of=("manual", "cron"))
    fields_ = fields.Dict(
        required=True, data_key="fields", metadata={"description": "Name to type, in words."}
    )
    expression = _text(null=True)
    timezone = _text(null=True)
    catch_up = _text(null=True, of=("latest", "all", "none"))


class BackoffSchema(_Answer):
    kind = _text(of=("exponential", "fixed"))
    minimum = _number()
    maximum = _number()
    factor = _number()
    jitter = _number()


class RetrySchema(_Answer):
    max_attempts = _integer()
    backoff = _one(BackoffSchema, null=True)


class StepSchema(_Answer):
    name = _text()
    kind = _text(of=_KINDS)
    depends_on = _names()
    input = _any("Keys, an object of new names to paths, or null for everything.")
    output = _text(null=True)
    retry = _one(RetrySchema, null=True)
    transaction = _truth()
    at_most_once = _truth()
    seconds = _number(null=True)
    message = _text(null=True)
    level = _text(null=True)


class TransitionSchema(_Answer):
    source = _text()
    on = _text(of=("ok", "error"))
    to = _text()


class WorkflowSchema(_Answer):
    name = _text()
    version = _text(null=True)
    mode = _text(of=("transition", "dependency"))
    triggers = _many(TriggerSchema)
    steps = _many(StepSchema)
    transitions = _many(TransitionSchema)
    entry_steps = _names()
    fingerprint = _text()


class WorkflowPageSchema(_Answer):
    items = _many(WorkflowSchema)
    next = _text(null=True, description="Always null: there is one page.")


class OpenApiSchema(_Answer):
    openapi = _text()
    info = _object()
    paths = _object()


class ProblemSchema(_Answer):
    type = _text()
    title = _text()
    status = _integer()
    code = _text(of=STATUSES)
    detail = _text()
    errors = fields.Dict(metadata={"description": "Field to what is wrong with it."})
    current = fields.String(metadata={"description": "The status that does not allow it."})
    requested = fields.String(metadata={"description": "What was asked for."})
    step = fields.String(metadata={"description": "The step at which the run stands."})
    kind = fields.String(metadata={"description": "The kind of that step."})

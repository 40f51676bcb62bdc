"""Every error is one of ours, says what to do, and survives pickling."""

from __future__ import annotations

import pickle

import pytest

import flask_squidmesh
from flask_squidmesh import (
    ConfigError,
    DefinitionUnavailable,
    DocumentTooLarge,
    IdempotencyConflict,
    InvalidDecision,
    InvalidRunId,
    InvalidTransition,
    PayloadError,
    RetryStep,
    RunNotFound,
    SquidMeshError,
    StepFailed,
    UnknownTrigger,
    UnknownWorkflow,
    WorkflowDefinitionError,
    WrongStepKind,
)

EVERY_ERROR = [
    ConfigError(["db", "celery"], {"SQUIDMESH_TICKER": "yes"}, {"db": "give one"}),
    ConfigError(summary="twice"),
    WorkflowDefinitionError("flow", [("flow.work", "no_trigger", "declare one")]),  # type: ignore[list-item]  # a plain tuple will do
    UnknownWorkflow("nobody", ["flow"]),
    UnknownTrigger("flow", "nobody", ["go"]),
    PayloadError({"account_id": ["Missing data for required field."]}),
    InvalidRunId("nonsense"),
    RunNotFound("0197-..."),
    InvalidTransition("completed", "approve"),
    WrongStepKind("hold", "pause"),
    InvalidDecision({"actor": "who?"}),
    IdempotencyConflict("flow", "key", "0197-..."),
    DocumentTooLarge("payload", 11, 10),
    DefinitionUnavailable("flow"),
    StepFailed("closed", code="account_closed", details={"a": 1}),
    RetryStep("busy", delay=5),
]


def test_every_public_error_is_looked_at_here():
    public = {
        value
        for value in vars(flask_squidmesh).values()
        if isinstance(value, type) and issubclass(value, SquidMeshError)
    }
    assert {type(error) for error in EVERY_ERROR} == public - {SquidMeshError}


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_error_survives_pickling(error):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert type(again) is type(error)
    assert (vars(again), str(again)) == (vars(error), str(error))


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_error_says_something(error):
    assert str(error).strip()


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (InvalidTransition("completed", "approve"), ("completed", "approve")),
        (WrongStepKind("hold", "pause"), ("hold", "pause", "unblock_run")),
        (WrongStepKind("review", "approval"), ("review", "approval", "approve_run")),
        (UnknownTrigger("flow", "nobody", ["go"]), ("flow", "nobody", "go")),
        (UnknownWorkflow("nobody", ["flow"]), ("nobody", "flow")),
        (DocumentTooLarge("payload", 11, 10), ("payload", "11", "10")),
        (IdempotencyConflict("flow", "key", "run"), ("flow", "key", "run")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_names_its_facts(error, named):
    assert [word for word in named if word not in str(error)] == []


def test_definition_error_begins_as_promised():
    error = WorkflowDefinitionError("flow", [("flow.work", "no_trigger", "declare one")])  # type: ignore[list-item]  # a plain tuple will do
    assert str(error).startswith("workflow validation failed:")
    assert error.problems == [("flow.work", "no_trigger", "declare one")]

"""Messages stay short whatever a caller has passed; the attributes hold all of it."""

from __future__ import annotations

import pickle

import pytest

from flask_squidmesh import exceptions


@pytest.mark.parametrize(
    ("error", "attribute"),
    [
        (exceptions.UnknownWorkflow("x" * 1_000_000, ("a",)), "workflow"),
        (exceptions.UnknownTrigger("w", "x" * 1_000_000, ("a",)), "trigger"),
        (exceptions.InvalidRunId("x" * 1_000_000), "run_id"),
        (exceptions.IdempotencyConflict("w", "x" * 1_000_000, "id"), "key"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_caller_has_passed_is_cut_in_the_message(error: Exception, attribute: str):
    assert len(str(error)) < 600
    assert "(1000002 characters)" in str(error)
    assert len(getattr(error, attribute)) == 1_000_000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # ours


def test_what_is_short_is_repeated_whole():
    assert "'4711' is not a run id" in str(exceptions.InvalidRunId("4711"))

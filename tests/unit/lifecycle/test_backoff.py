"""Delays between attempts: exact, bounded, growing, and never an overflow."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_squidmesh.definition.spec import BackoffSpec, RetrySpec
from flask_squidmesh.lifecycle.backoff import delay_after
from tests.strategies import backoffs

MANY = 10_000
attempts = st.integers(1, MANY)
chances = st.floats(0, 1, exclude_max=True)
given_backoffs = backoffs.filter(lambda backoff: backoff is not None)


def policy(backoff):
    return RetrySpec(MANY, backoff)


def exponential(minimum, maximum, factor=2.0, jitter=0.0):
    return BackoffSpec("exponential", minimum, maximum, factor, jitter)


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (None, [0, 0, 0, 0, 0]),
        (exponential(1, 5), [1, 2, 4, 5, 5]),
        (exponential(1, 30), [1, 2, 4, 8, 16]),
        (exponential(2, 30, 3), [2, 6, 18, 30, 30]),
        (exponential(3, 3), [3, 3, 3, 3, 3]),
        (exponential(4, 30, 1), [4, 4, 4, 4, 4]),
        (exponential(0.1, 0.4), [0.1, 0.2, 0.4, 0.4, 0.4]),
        (BackoffSpec("fixed", 7, 7), [7, 7, 7, 7, 7]),
    ],
)
def test_delay_is_exact(backoff, expected):
    assert [delay_after(n, policy(backoff)) for n in range(1, 6)] == expected


def test_without_a_policy_there_is_no_delay():
    assert delay_after(1, None) == 0


@given(backoff=given_backoffs, attempt=attempts)
@example(backoff=exponential(1e-3, 1e10, 1e3), attempt=MANY)
@example(backoff=exponential(1.0, 1.0, 1e3), attempt=MANY)
def test_delay_is_bounded_by_minimum_and_maximum(backoff, attempt):
    assert backoff.minimum <= delay_after(attempt, policy(backoff)) <= backoff.maximum


@given(backoff=given_backoffs, attempt=st.integers(1, MANY - 1))
def test_delay_never_shrinks_from_attempt_to_attempt(backoff, attempt):
    earlier, later = (delay_after(n, policy(backoff)) for n in (attempt, attempt + 1))
    assert earlier <= later


@given(backoff=given_backoffs, chance=chances)
def test_delay_does_not_overflow_at_attempt_10_000(backoff, chance):
    delay = delay_after(MANY, policy(backoff), chance=chance)
    assert math.isfinite(delay)
    assert 0 <= delay <= backoff.maximum


@given(backoff=given_backoffs, attempt=attempts, chance=chances)
def test_jitter_shortens_by_its_share_at_most(backoff, attempt, chance):
    exact = delay_after(attempt, policy(backoff))
    jittered = delay_after(attempt, policy(backoff), chance=chance)
    assert exact * (1 - backoff.jitter) * (1 - 1e-9) <= jittered <= exact

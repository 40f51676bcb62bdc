"""How long to wait before the next attempt."""

from __future__ import annotations

import math

from flask_squidmesh.definition.spec import RetrySpec


def delay_after(failed: int, policy: RetrySpec | None, *, chance: float = 0.0) -> float:
    """Return the seconds to wait after attempt number *failed* has failed.

    *chance* in [0, 1) is where in the jitter's range the delay falls: with a
    jitter of 0.2 the delay is shortened by up to 20 percent, so that `maximum`
    stays one. Does not overflow, whatever the attempt number.

    >>> from flask_squidmesh.definition.spec import BackoffSpec
    >>> policy = RetrySpec(5, BackoffSpec("exponential", minimum=1, maximum=5))
    >>> [delay_after(n, policy) for n in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 5.0]
    """
    if policy is None or policy.backoff is None:
        return 0.0
    backoff = policy.backoff
    delay = backoff.minimum
    if backoff.kind == "exponential":
        delay = backoff.maximum
        if backoff.factor <= 1 or failed - 1 < _steps_to_maximum(
            backoff.minimum, backoff.maximum, backoff.factor
        ):
            delay = min(backoff.minimum * backoff.factor ** (failed - 1), backoff.maximum)
    return float(delay * (1 - backoff.jitter * chance))


def _steps_to_maximum(minimum: float, maximum: float, factor: float) -> float:
    return math.log(maximum / minimum, factor) + 1

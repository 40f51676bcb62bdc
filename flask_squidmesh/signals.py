"""Signals (Blinker), sent after commit with the Flask app as sender.

Every signal has the keyword arguments `run_id`, `workflow`, `trigger`, `status`
and `current_step`; those about steps also `step` and `attempt`. They are heard
in the process that caused them only, and are lost with it: a reaction that must
happen belongs into a workflow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from blinker import Namespace

_signals = Namespace()
logger = logging.getLogger(__name__)

run_created: Final = _signals.signal("run_created")
run_replayed: Final = _signals.signal("run_replayed")
run_dispatched: Final = _signals.signal("run_dispatched")
run_transition: Final = _signals.signal("run_transition", doc="`from_status`, `to_status`")
step_started: Final = _signals.signal("step_started")
step_skipped: Final = _signals.signal("step_skipped", doc="`reason`")
step_completed: Final = _signals.signal("step_completed", doc="`duration` in seconds")
step_failed: Final = _signals.signal("step_failed", doc="`duration` in seconds, `error`")
step_retry_scheduled: Final = _signals.signal("step_retry_scheduled", doc="`delay` in seconds")


def send(app: object, notices: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Send each named signal with its values; a receiver that fails is logged, never raised."""
    for name, values in notices:
        signal = _signals[name]
        for receiver in signal.receivers_for(app):
            try:
                receiver(app, **values)
            except Exception:
                logger.exception("a receiver of the signal %s failed", name)

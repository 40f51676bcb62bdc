"""What the broker says about itself, for `flask squidmesh check`; sends no work."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask

from flask_squidmesh.current import Broker, state_of
from flask_squidmesh.dispatch.line import Line
from flask_squidmesh.dispatch.transport import Transport

# Longer than sending may take: workers get a second to answer.
_PATIENCE: Final = 4.0

_WATCHED: Final = (
    "accept_content",
    "broker_url",
    "task_annotations",
    "task_default_rate_limit",
    "task_soft_time_limit",
    "task_time_limit",
    "worker_enable_remote_control",
    "worker_prefetch_multiplier",
)


def look_at_broker(app: Flask) -> Broker:
    """Return what the broker of *app* says; raises `ConfigError` without a Celery app."""
    state = state_of(app)
    celery: Any = state.celery()
    configuration = {name: getattr(celery.conf, name) for name in _WATCHED}
    address, trouble, depth = "", None, None
    listeners: dict[str, tuple[str, ...]] | None = None
    transport = Transport(celery, state.settings.queue, clock=state.clock)
    try:
        # Says nothing of a password.
        connection = celery.connection_for_write()
        address = connection.as_uri()
        depth = transport.ask(Line.depth, patience=_PATIENCE)
        is_shared = connection.get_transport_cls().driver_type != "memory"
        if is_shared and configuration["worker_enable_remote_control"]:
            listeners = transport.ask(Line.listeners, patience=_PATIENCE)
    except Exception as error:  # noqa: BLE001  # whatever a transport raises is the answer
        trouble = f"{type(error).__name__}: {str(error) or 'no answer in time'}"
    finally:
        transport.close()
    return Broker(address, trouble, depth, listeners, configuration)

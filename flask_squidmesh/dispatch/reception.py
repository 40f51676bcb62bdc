"""How a worker receives our messages: as Celery does, except that a broken one harms nobody.

Celery unpacks a message when it arrives, in the worker's main process. A body
that names one of our tasks and is not of the form of a task's ends that
process, and the message is put back for the next worker to die of. Here it is
refused instead, as Celery refuses what it recognises as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery.exceptions import InvalidTaskError
from celery.worker import strategy


def receive(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Return what is called with each message for *task*; named as its `Strategy`."""
    usual = strategy.default(task, app, consumer, **options)

    def look_and_receive(message: Any, body: Any, *rest: Any, **more: Any) -> Any:
        if not is_of_a_task(message.payload):
            raise InvalidTaskError("the body of the message is not that of a task")
        return usual(message, body, *rest, **more)

    return look_and_receive


def is_of_a_task(payload: object) -> bool:
    """Return whether the body of a message has the form that Celery goes on to unpack."""
    if isinstance(payload, Mapping):
        # The older protocol; what is wrong with the rest of it, Celery recognises.
        return "args" in payload
    return (
        isinstance(payload, list | tuple)
        and len(payload) == 3
        and isinstance(payload[1], Mapping)
        and isinstance(payload[2], Mapping | None)
    )

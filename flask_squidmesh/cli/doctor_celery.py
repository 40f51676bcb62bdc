"""The doctor's questions about the broker, its listeners, and Celery's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from flask_squidmesh.cli.findings import Finding, ok, problem, skipped, warning
from flask_squidmesh.cli.output import cell
from flask_squidmesh.current import Broker

_JSON: Final = {"json", "application/json"}
_MEMORY: Final = ("memory:", "in-memory:")
_USUAL_PREFETCH: Final = 4


def about_broker(broker: Broker, queue: str) -> Iterator[Finding]:
    """Judge whether messages arrive, and whether somebody takes them."""
    if broker.trouble is not None:
        unset = (
            "" if broker.configuration.get("broker_url") else "broker_url is not set; set it, and "
        )
        yield problem(
            "broker",
            f"{cell(broker.address)} does not answer ({cell(broker.trouble)}); "
            "work waits in the database until it does",
            f"{unset}see whether the broker runs and can be reached from here",
        )
        return
    if broker.address.startswith(_MEMORY):
        yield warning(
            "broker",
            f"{broker.address} is the memory of one process: no worker outside of it hears of work",
            "use 'flask squidmesh dev' for development, and Redis, Valkey or RabbitMQ elsewhere",
        )
        return
    yield ok("broker", f"{cell(broker.address)} answers, {broker.depth} messages wait in {queue}")
    yield _about_listeners(broker, queue)


def _about_listeners(broker: Broker, queue: str) -> Finding:
    if broker.listeners is None:
        return skipped(
            "workers", "worker_enable_remote_control is off, so workers can not be asked"
        )
    listening = broker.consumers_of(queue)
    if listening:
        return ok("workers", f"{len(listening)} on queue {queue}: {cell(', '.join(listening))}")
    start = "start one: flask squidmesh worker"
    if not broker.listeners:
        return warning("workers", f"none answers, nobody listens on queue {queue}", start)
    others = "; ".join(f"{name} on {', '.join(q)}" for name, q in broker.listeners.items())
    queues = sorted({name for queues in broker.listeners.values() for name in queues})
    return problem(
        "workers",
        f"none listens on queue {queue}, only on others: {cell(others)}",
        f"{start}, or add the queue to theirs: celery ... worker -Q {','.join([*queues, queue])}",
    )


def about_celery(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge the settings of Celery by the promises they could break."""
    found = list(_about_settings(configuration))
    yield from found or [ok("celery", "no setting of Celery is in the way")]


def _about_settings(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    accepted = configuration["accept_content"]
    if not _JSON & set(accepted or ()):
        yield problem(
            "celery",
            f"accept_content is {accepted!r}: workers refuse this extension's messages, "
            "which are JSON",
            "add 'json' to accept_content",
        )
    for name in ("task_time_limit", "task_soft_time_limit"):
        if configuration[name]:
            yield warning(
                "celery",
                f"{name} is {configuration[name]}: a step that takes longer is cut off in the "
                "middle, and tried again when its lease has run out",
                "remove it, and give the calls inside of steps timeouts of their own",
            )
    limited = configuration["task_default_rate_limit"] or _annotated_rate(configuration)
    if limited:
        yield warning(
            "celery",
            f"tasks are limited to {limited}: that many messages of this extension, too",
            "limit your own tasks by name instead of all ('*', or task_default_rate_limit)",
        )
    prefetch = configuration["worker_prefetch_multiplier"]
    if prefetch == 0 or prefetch > _USUAL_PREFETCH:
        yield warning(
            "celery",
            f"worker_prefetch_multiplier is {prefetch}: busy workers hoard what free ones could do",
            "set it to 1, or start workers with 'flask squidmesh worker', which does",
        )


def _annotated_rate(configuration: Mapping[str, Any]) -> object:
    annotations = configuration["task_annotations"]
    if not isinstance(annotations, Mapping):
        return None
    everything = annotations.get("*")
    return everything.get("rate_limit") if isinstance(everything, Mapping) else None

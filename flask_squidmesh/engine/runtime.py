"""What every operation of one application's engine needs, and what it remembers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from flask_squidmesh.clock import Clock
from flask_squidmesh.config import Settings
from flask_squidmesh.definition import documents
from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.definition.registry import Registry
from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.engine.backlog import Backlog
from flask_squidmesh.engine.beginnings import Beginnings
from flask_squidmesh.engine.memory import Held
from flask_squidmesh.exceptions import RunNotFound
from flask_squidmesh.lifecycle import effects as do
from flask_squidmesh.lifecycle.facts import Limits
from flask_squidmesh.store import definitions, runs, transaction
from flask_squidmesh.store.host import HostSession
from flask_squidmesh.store.runs import RunRow

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Executing:
    """The claims this process is executing right now, and only those: the heartbeat's list."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, Held] = {}
        self.count = 0

    def during(self, held: Held) -> AbstractContextManager[None]:
        """Count *held* among the executing claims while the block runs."""
        return _Execution(self, held)

    def begin(self, held: Held) -> None:
        """Count *held* among them."""
        with self._lock:
            self._held[id(held)] = held
            self.count += 1

    def end(self, held: Held) -> None:
        """Do so no longer."""
        with self._lock:
            self._held.pop(id(held), None)

    def all(self) -> list[Held]:
        """Return the claims that are executing now."""
        with self._lock:
            return list(self._held.values())


class _Execution(AbstractContextManager[None]):
    """A class, since a generator takes several times as long to enter and to leave."""

    __slots__ = ("_executing", "_held")

    def __init__(self, executing: Executing, held: Held) -> None:
        self._executing = executing
        self._held = held

    def __enter__(self) -> None:
        self._executing.begin(self._held)

    def __exit__(self, *_: object) -> None:
        self._executing.end(self._held)


@dataclass(eq=False)
class Runtime:
    """The parts an engine is put together from.

    `step_context` opens the fresh Flask app context that a step runs in, and
    `host` is the host's session inside of it. `ways` is what `straight` knows of
    where steps lead: of a definition, for a worker with some code, after a step,
    with and without going on. `joins` is what `siblings` knows of steps, by what
    waits for them in a definition.
    """

    database: transaction.Engine
    settings: Settings
    clock: Clock
    registry: Registry
    host: HostSession
    step_context: Callable[[], AbstractContextManager[object]]
    executing: Executing = field(default_factory=Executing)
    limits: Limits = field(init=False)
    beginnings: Beginnings = field(init=False)
    backlog: Backlog = field(init=False)
    next_look_at_cron: datetime = _LONG_AGO
    ways: dict[tuple[str, str, str, bool], do.Effect | None] = field(default_factory=dict)
    joins: dict[tuple[str, tuple[str, ...]], str | None] = field(default_factory=dict)
    _definitions: dict[str, Definition] = field(default_factory=dict)
    _executable: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _other: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _stored: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.limits = Limits(self.settings.max_step_visits, self.settings.max_lost_attempts)
        self.beginnings = Beginnings(self.registry)
        self.backlog = Backlog(self.database, self.beginnings)

    def code(self, workflow: str) -> WorkflowCode | None:
        """Return the current code of a workflow, None when it is not registered."""
        known = self.registry.find(workflow)
        return None if known is None else known.__squidmesh__

    def all_code(self) -> Iterator[WorkflowCode]:
        """Yield the code of every registered workflow."""
        for name in self.registry.names():
            code = self.code(name)
            if code is not None:
                yield code

    def definition(self, connection: transaction.Connection, run: RunRow) -> Definition:
        """Return the definition the run was started with."""
        known = self._definitions.get(run.fingerprint)
        if known is None:
            code = self.code(run.workflow)
            if code is not None and code.definition.fingerprint == run.fingerprint:
                # A wide one takes seconds to read, and what it says is here already.
                known = code.definition
            else:
                document = definitions.get(connection, run.fingerprint)
                known = Definition.from_dict(documents.decode(document))
            self._definitions[run.fingerprint] = known
        return known

    def definition_of(self, connection: transaction.Connection, run_id: str) -> Definition:
        """Return the definition that a run, which is known to exist, was started with."""
        run = runs.find(connection, run_id)
        if run is None:
            raise RunNotFound(run_id)
        return self.definition(connection, run)

    def executable_steps(self, definition: Definition, code: WorkflowCode | None) -> frozenset[str]:
        """Return the steps of *definition* that today's *code* can execute when they are ready."""
        if code is None:
            return frozenset()
        key = (definition.fingerprint, code.definition.fingerprint)
        known = self._executable.get(key)
        if known is None:
            known = frozenset(
                spec.name
                for spec in definition.steps
                if spec.kind == "log" or (spec.kind == "step" and spec.name in code.functions)
            )
            self._executable[key] = known
        return known

    def other_steps(self, definition: Definition, code: WorkflowCode) -> tuple[str, ...]:
        """Return the steps of *definition* that `executable_steps` leaves out."""
        key = (definition.fingerprint, code.definition.fingerprint)
        known = self._other.get(key)
        if known is None:
            executable = self.executable_steps(definition, code)
            known = tuple(s.name for s in definition.steps if s.name not in executable)
            self._other[key] = known
        return known

    def look_at_cron_anew(self) -> None:
        """Rely on nothing that was read about cron before."""
        self.next_look_at_cron = _LONG_AGO

    def is_stored(self, fingerprint: str) -> bool:
        """Return whether this process has seen the definition committed."""
        return fingerprint in self._stored

    def remember_stored(self, fingerprint: str) -> None:
        """Note that the definition is in the database, committed."""
        self._stored.add(fingerprint)


_NAMES: Final = threading.local()


def worker_name() -> str:
    """Return the name this thread's claims carry: process, host and thread."""
    process = os.getpid()
    # A child that was forked has its thread's name from its parent.
    if getattr(_NAMES, "process", None) != process:
        _NAMES.process = process
        name = f"{process}@{socket.gethostname()}/{threading.get_native_id()}"
        _NAMES.name = name[:255]
    return str(_NAMES.name)

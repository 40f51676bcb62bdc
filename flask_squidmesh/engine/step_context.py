"""What a step function learns about its run: the parameter called `context`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask_squidmesh.definition import documents, inputs
from flask_squidmesh.engine.lease import renew
from flask_squidmesh.lifecycle.facts import ENDED
from flask_squidmesh.lifecycle.states import RunStatus
from flask_squidmesh.store import runs, transaction

if TYPE_CHECKING:
    from flask_squidmesh.engine.memory import Held
    from flask_squidmesh.engine.runtime import Runtime


class StepContext:
    """The run, step and attempt a step function is called for.

    Mappings are copies for this attempt: changing them changes nothing else.
    """

    def __init__(self, runtime: Runtime, held: Held) -> None:
        self._runtime = runtime
        self._held = held

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._held.run.id

    @property
    def workflow(self) -> str:
        """The workflow's registered name."""
        return self._held.run.workflow

    @property
    def trigger(self) -> str:
        """The name of the trigger that started the run."""
        return self._held.run.trigger

    @property
    def step(self) -> str:
        """The step's name."""
        return self._held.branch.step

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._held.branch.attempt

    @property
    def idempotency_key(self) -> str:
        """Text for other systems that is the same for every retry of this visit of the step."""
        return self._held.idempotency_key

    @property
    def payload(self) -> Mapping[str, Any]:
        """The run's payload."""
        return self._own(self._held.memory.payload)

    @property
    def state(self) -> Mapping[str, Any]:
        """The payload overlaid with the outputs so far."""
        return self._own(inputs.visible(self._held.memory.payload, self._held.memory.context))

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """On an error route the error that led here, with its `step`; else None."""
        failure = self._held.memory.failure
        return None if failure is None else self._own(failure)

    @property
    def schedule(self) -> Mapping[str, Any] | None:
        """The cron window the run was started for, as JSON data; None for other triggers.

        Keys: `trigger`, `expression`, `timezone`, `window_start`, `window_end`, `fired_at`.
        """
        schedule = self._held.run.schedule
        return None if schedule is None else documents.decode(schedule)

    @property
    def cancelled(self) -> bool:
        """Whether the run is being cancelled, or this attempt was taken over; asks the database."""
        if self._held.is_lost:
            return True
        found = transaction.read(
            self._runtime.database, lambda c: runs.find_with_state(c, self.run_id)
        )
        if found is None:
            return True
        return found[1].status in ENDED or found[1].status == RunStatus.CANCELLING

    def heartbeat(self) -> bool:
        """Renew the lease now; False means that the attempt was taken over: stop working.

        Workers renew by themselves; this is for code that blocks the heartbeat's thread.
        """
        if self._runtime.host.is_locking_others_out():
            # The renewal would wait for this very thread; the lease is judged after the commit.
            return not self._held.is_lost
        return renew(self._runtime, self._held)

    @staticmethod
    def _own(mapping: Mapping[str, Any]) -> dict[str, Any]:
        return {key: documents.copied(value) for key, value in mapping.items()}

    def __repr__(self) -> str:
        return f"<StepContext {self.workflow}.{self.step} run={self.run_id} attempt={self.attempt}>"

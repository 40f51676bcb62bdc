"""One transaction about one run: its facts, what is written in it, what it leaves to be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.engine.idempotency import Asked
from flask_squidmesh.engine.memory import Memory
from flask_squidmesh.engine.news import News, Notice, Ring, about, together
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.lifecycle.facts import ENDED, Error
from flask_squidmesh.lifecycle.states import RunStatus
from flask_squidmesh.store import transaction
from flask_squidmesh.store.branches import Branch
from flask_squidmesh.store.history import StepRunRow
from flask_squidmesh.store.runs import RunRow

GRACES: Final = tuple(timedelta(seconds=s) for s in (10, 20, 40, 80, 160, 300))
"""How long after a message the ticker sends the next one, by how many it has sent already."""

LONGEST_DELAY: Final = timedelta(days=36_500)
"""What is to wait longer waits as long as this: databases have no times without end."""


class Fenced(Exception):
    """A guarded write matched no row: the lease is gone, nothing may be kept."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says with a decision, as encoded documents, and the request it came with."""

    actor: str | None = None
    comment: str | None = None
    metadata: str | None = None
    asked: Asked | None = None


@dataclass
class Scene:
    """One transaction about one run, under the run's lock.

    `branch` is the branch the outcome is about, as it was when the scene
    opened; `ordinal` the number the attempt gets that ends here; `lease_until`
    the lease that the attempt still has. `entered` is the branch as it goes on,
    when this worker goes on with it, and `failure` the error that led there;
    `moved_to` is the step it goes on to, whoever does, and `failed_step` the one
    with which the run failed.

    When the worker leaves the branch and goes on with another of the run, that
    is the scene `following`, and `memory` in it is the run as seen from there.
    """

    runtime: Runtime
    connection: transaction.Connection
    run: RunRow
    definition: Definition
    status: RunStatus
    now: datetime
    branch: Branch | None = None
    ordinal: int = 0
    output: str | None = None
    traceback: str | None = None
    said: Said = field(default_factory=Said)
    lease_until: datetime | None = None
    entered: Branch | None = None
    failure: Error | None = None
    moved_to: str | None = None
    failed_step: str | None = None
    following: Scene | None = None
    memory: Memory | None = None
    ended: list[StepRunRow] = field(default_factory=list)
    forks: list[Branch] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)
    _notices: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @property
    def at(self) -> Branch:
        """The branch the outcome is about."""
        if self.branch is None:
            raise RuntimeError("this outcome is about no branch")
        return self.branch

    def new_lease(self) -> datetime:
        """Return the end of a lease that begins now."""
        return self.now + timedelta(seconds=self.runtime.settings.lease_ttl)

    def after(self, seconds: float) -> datetime:
        """Return the time in *seconds*, or in `LONGEST_DELAY` if that is sooner."""
        if not seconds:
            return self.now
        return self.now + timedelta(seconds=min(seconds, LONGEST_DELAY.total_seconds()))

    def tell(self, name: str, branch: Branch, **values: Any) -> None:
        """Leave a notice about a step."""
        self._notices.append((name, {"step": branch.step, "attempt": branch.attempt, **values}))

    def tell_of_run(self, name: str, **values: Any) -> None:
        """Leave a notice about the run."""
        self._notices.append((name, values))

    def news(self) -> News:
        """Return what is to be told once the transaction is committed."""
        common = about(self.run, self.status, current_step=self._current_step())
        notices = [Notice(name, {**common, **values}) for name, values in self._notices]
        notices += [Notice("run_dispatched", common) for ring in self.rings if ring.at is None]
        told = News(tuple(self.rings), tuple(notices))
        return told if self.following is None else together((told, self.following.news()))

    def _current_step(self) -> str | None:
        """Return what `Run.current_step` says after this transaction."""
        if self.status == RunStatus.FAILED:
            return self.failed_step
        if self.definition.mode == "dependency" or self.status in ENDED:
            return None
        if self.moved_to is not None:
            return self.moved_to
        return None if self.branch is None else self.branch.step


def require(done: bool) -> None:  # noqa: FBT001  # the answer of a guarded write
    """Go on only if a guarded write took place.

    Raises:
        Fenced: It did not, and the transaction must be rolled back.
    """
    if not done:
        raise Fenced

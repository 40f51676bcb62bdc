"""What a committed transaction leaves to be told: rings and notices.

The engine never sends. It returns news, and whoever called it passes them on
after the commit; if nobody does, `due_at` brings the ticker to the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask_squidmesh.lifecycle.states import RunStatus
from flask_squidmesh.store.runs import RunRow


@dataclass(frozen=True, slots=True)
class Ring:
    """A step that wants a worker: now (`at` is None), or once `at` has come.

    With `begins` it is the step a run begins with, and one that workers who are
    there for others find by themselves (`backlog`).
    """

    run_id: str
    step: str
    at: datetime | None = None
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """A signal to send: its name in `flask_squidmesh.signals` and its keyword arguments."""

    name: str
    values: Mapping[str, object]


def about(run: RunRow, status: RunStatus, *, current_step: str | None) -> dict[str, object]:
    """Return what every notice about *run* says, as the run stands after the commit."""
    return {
        "run_id": run.id,
        "workflow": run.workflow,
        "trigger": run.trigger,
        "status": status.value,
        "current_step": current_step,
    }


@dataclass(frozen=True, slots=True)
class News:
    """Everything one commit left to be told."""

    rings: tuple[Ring, ...] = ()
    notices: tuple[Notice, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rings or self.notices)


def together(parts: Iterable[News]) -> News:
    """Return several news as one."""
    told = list(parts)
    return News(
        tuple(ring for news in told for ring in news.rings),
        tuple(notice for news in told for notice in news.notices),
    )


NOTHING: Final = News()
"""Nothing to tell."""

"""An application for worker processes; its engine writes what it is asked into a file.

`celery -A tests.dispatch.host_app:celery_app worker` and
`flask --app tests.dispatch.host_app squidmesh ...` both take it from here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from celery import Celery
from flask.cli import AppGroup

from flask_squidmesh.clock import Clock, wait_until
from flask_squidmesh.dispatch import commands
from flask_squidmesh.engine.news import News, Ring
from flask_squidmesh.ids import new_id
from flask_squidmesh.types import TickResult
from tests.dispatch.doubles import EngineInMemory, make_app, state_of

DIARY = Path(os.environ["DIARY"])


def note(*words: object) -> None:
    """Add a line, with this process's id, in one write."""
    with DIARY.open("a") as diary:
        diary.write(" ".join(map(str, (*words, os.getpid()))) + "\n")


class EngineOnPaper(EngineInMemory):
    """Does nothing but write it down, and what the name of the step says."""

    def deliver(
        self,
        run_id: str,
        step: str,
        *,
        may_continue: Callable[[], bool],
        after_commit: Callable[[News], None],
        is_ending: Callable[[], bool],
        other_runs: bool,
    ) -> str:
        note("deliver", step)
        if step == "until_told":
            wait_until(lambda: not may_continue(), timeout=20)
            note("told")
        elif step == "retry_soon":
            due = Clock().now + timedelta(seconds=0.3)
            after_commit(News(rings=(Ring(run_id, "retried", due),)))
        return "executed"

    def tick(self, *, limit: int, backlog: int) -> tuple[TickResult, News]:
        note("tick", threading.current_thread().name)
        if os.environ.get("TICK_RINGS"):
            return TickResult(due=1), News(rings=(Ring(new_id(), "found"),))
        return TickResult(), News()

    def renew(self) -> int:
        note("renew", threading.current_thread().name)
        return 0


celery_app = Celery("tests.dispatch.host_app", broker=os.environ.get("BROKER_URL", "memory://"))
celery_app.conf.task_create_missing_queues = False
app = make_app(
    celery_app,
    tick_interval=float(os.environ.get("TICK_INTERVAL", "0.1")),
    lease_ttl=1.0,
    inline_budget=60,
)
state_of(app).memory = EngineOnPaper()
group = AppGroup("squidmesh")
for command in commands.ALL:
    group.add_command(command)
app.cli.add_command(group)


@app.get("/")
def index() -> str:
    """Say that the web server answers, and give the worker something to do."""
    state_of(app).announce(News(rings=(Ring(new_id(), "from_view"),)))
    return "served"

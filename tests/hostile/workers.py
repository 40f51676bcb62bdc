"""A test's side of `worker_app`: starts workers, lets their steps go on, sees what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask

from flask_squidmesh import Run
from flask_squidmesh.clock import wait_until
from flask_squidmesh.dispatch import doorbell_of
from tests.contract.host import attempts, db
from tests.hostile.worker_app import make_app, squidmesh
from tests.support.process import Process, Processes

APP = "tests.hostile.worker_app:celery_app"
OVER = ("completed", "failed", "cancelled")


class Crew:
    """One application, as a client has it, and its workers."""

    def __init__(self, processes: Processes, folder: Path, environment: dict[str, str]) -> None:
        self._processes = processes
        self._folder = folder
        self._environment = {**environment, "FOLDER": str(folder)}

    @contextmanager
    def open(self) -> Iterator[Flask]:
        """Open the context of the application; its tables are made."""
        app = make_app(self._environment)
        with app.app_context():
            db.create_all()
            try:
                yield app
            finally:
                doorbell_of(app).close()
                db.session.remove()
                db.engine.dispose()

    def start_worker(self, *arguments: str, concurrency: int = 1) -> Process:
        return self._processes.start_worker(
            APP, *arguments, concurrency=concurrency, env=self._environment
        )

    def has(self, mark: str) -> bool:
        """Return whether a step has left *mark*."""
        return (self._folder / mark).exists()

    def wait_for(self, mark: str, *, timeout: float = 30) -> None:
        assert wait_until(lambda: self.has(mark), timeout=timeout), list(self._folder.iterdir())

    def let(self, *steps: str) -> None:
        """Let these steps go on."""
        for name in steps:
            (self._folder / f"{name}-go").touch()


@contextmanager
def open_crew(processes: Processes, folder: Path, environment: dict[str, str]) -> Iterator[Crew]:
    """Open the context of an application, with an empty folder for the marks of its steps."""
    marks = folder / "marks"
    marks.mkdir()
    crew = Crew(processes, marks, environment)
    with crew.open():
        yield crew


def see(run_id: str) -> Run:
    return squidmesh.inspect_run(run_id, include_history=True)


def wait_for_end(run_id: str, *, timeout: float = 60) -> Run:
    """Return the run once it is over."""
    wait_until(lambda: see(run_id).status in OVER, timeout=timeout, interval=0.05)
    run = see(run_id)
    assert run.status in OVER, run
    return run


def pid_of(run: Run, step: str, number: int = 1) -> int:
    """Return the id of the process that made an attempt."""
    (found,) = (each for each in run.step_runs or () if each.step == step)
    worker = found.attempts[number - 1].worker
    assert worker is not None
    return int(worker.partition("@")[0])


def history(run: Run) -> dict[str, list[tuple[int, str]]]:
    """Return the attempts of every step."""
    return {each.step: attempts(run, each.step) for each in run.step_runs or ()}

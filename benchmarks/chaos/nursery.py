"""Brings up Celery workers: `python -m benchmarks.chaos.nursery FOLDER`.

Imports everything once and forks, so that a new worker is there in a fraction
of the second or two that a new interpreter takes. What it forks are whole
Celery workers, each in a process group of its own, with pools as usual.

Reads a line `NAME POOL CONCURRENCY` per worker, and answers with the id of its
process. At the end of its input it kills all of them.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.chaos.host import create_app


def main(folder: str) -> None:
    """Bring workers up until the input ends."""
    _, _, celery = create_app()
    groups: list[int] = []
    signal.signal(signal.SIGCHLD, _bury)
    while line := sys.stdin.readline():
        name, pool, concurrency = line.split()
        child = os.fork()
        if child == 0:
            _become_worker(celery, Path(folder) / f"{name}.log", name, pool, concurrency)
        groups.append(child)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _bury(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become_worker(celery: Any, log: Path, name: str, pool: str, concurrency: str) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    options = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    options += ["--queues", "squidmesh", "--hostname", f"{name}@%h", "--loglevel", "INFO"]
    options += ["--pool", pool, "--concurrency", concurrency]
    try:
        celery.worker_main(["worker", *options])
    finally:
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A Celery application with one task, for the tests of the fixtures."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from celery import Celery

celery_app = Celery("real_parts", broker=os.environ["BROKER_URL"])
celery_app.conf.task_ignore_result = True


@celery_app.task(name="touch")
def touch(path: str) -> None:
    """Show that a worker came by."""
    Path(path).touch()


@celery_app.task(name="hang")
def hang(path: str) -> None:
    """Never end by itself."""
    Path(path).touch()
    signal.pause()

"""Telling a person what happens to a run: live while it does, and as a timeline afterwards.

Works on what the views answer. On a terminal there are colours and a line that
is kept up to date; anywhere else plain lines.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TextIO

Document = dict[str, Any]

COLOURS = {"good": "32", "bad": "31", "wait": "33", "quiet": "2", "heading": "1;36"}
LOOKS = {
    "completed": "good",
    "failed": "bad",
    "abandoned": "bad",
    "paused": "wait",
    "waiting": "wait",
    "retrying": "wait",
}


class Display:
    """Writes lines to *stream*, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._has_colours = self.is_live and "NO_COLOR" not in os.environ

    def heading(self, text: str) -> None:
        self.line()
        self.line(text, "heading")

    def line(self, text: str = "", look: str | None = None) -> None:
        with self._lock:
            if look is not None and self._has_colours:
                text = f"\x1b[{COLOURS[look]}m{text}\x1b[0m"
            print(self._erased() + text, file=self._stream, flush=True)

    def now(self, text: str) -> None:
        """Show what is true at this moment, in place; the next line replaces it."""
        if self.is_live:
            with self._lock:
                # A line that wraps could not be replaced.
                text = text[: shutil.get_terminal_size().columns - 1]
                print(self._erased() + text, end="", file=self._stream, flush=True)

    def _erased(self) -> str:
        return "\r\x1b[2K" if self.is_live else ""


class DisplayHandler(logging.Handler):
    """Shows log records, without tracebacks: the timeline has the errors."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        is_step = record.name == "flask_squidmesh.steps"
        if not is_step or record.levelno <= logging.INFO:
            self._display.line(f"            log: {record.getMessage()}", "quiet")


class Narrator:
    """Tells what is new in a run, each time it is shown the run's document."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._told: set[tuple[str, int, str]] = set()

    def tell(self, run: Document, now: datetime) -> None:
        """Print what has happened since the last time, and show what the run is doing *now*."""
        since = _time(run["created_at"])
        for step_run in run["step_runs"]:
            for what, status in _happened(step_run):
                key = (step_run["step"], step_run["visit"], what)
                if key not in self._told:
                    self._told.add(key)
                    self._display.line(
                        f"  {_offset(now, since)}  {step_run['step']:<16} {what}",
                        LOOKS.get(status),
                    )
        doing = "; ".join(filter(None, (_doing(each, now) for each in run["step_runs"])))
        self._display.now(f"  {_offset(now, since)}  {run['status']}: {doing or '...'}")


def _happened(step_run: Document) -> Iterator[tuple[str, str]]:
    attempts, status = step_run["attempts"], step_run["status"]
    if step_run["kind"] == "wait":
        ends = step_run["due_at"] or step_run["finished_at"]
        seconds = (_time(ends) - _time(step_run["created_at"])).total_seconds()
        yield f"waiting for {seconds:.1f} s, without a worker", "waiting"
    if step_run["kind"] == "approval":
        yield "paused until somebody decides", "paused"
    for attempt in attempts:
        if attempt["status"] in ("failed", "abandoned"):
            said = _first_line(attempt["error"]) or "its worker vanished"
            yield f"attempt {attempt['number']} {attempt['status']}: {said}", attempt["status"]
    if status == "retrying" and step_run["due_at"] is not None:
        pause = _seconds(attempts[-1]["finished_at"], step_run["due_at"]).strip()
        yield f"attempt {len(attempts) + 1} follows in {pause}", status
    if status in ("completed", "failed", "cancelled"):
        again = f" with attempt {attempts[-1]['number']}" if len(attempts) > 1 else ""
        yield status + again, status


def _doing(step_run: Document, now: datetime) -> str | None:
    status = step_run["status"]
    if status not in ("pending", "waiting", "running", "retrying", "paused"):
        return None
    # While it runs, the time is that of its lease, which says nothing to a person.
    if status in ("waiting", "retrying") and step_run["due_at"] is not None:
        left = max(0.0, (_time(step_run["due_at"]) - now).total_seconds())
        return f"{step_run['step']} is {status}, {left:.1f} s left"
    return f"{step_run['step']} is {status}"


def timeline(display: Display, run: Document) -> None:
    """Print all that has happened to a run: steps with their attempts, and what people did."""
    display.heading(f"Timeline of {run['workflow']} {run['id']}: {run['status']}")
    since = _time(run["created_at"])
    happened: list[tuple[datetime, int, Callable[..., None], Document]] = []
    happened += [(_time(each["created_at"]), 1, _show_step_run, each) for each in run["step_runs"]]
    for event in run["audit_events"]:
        # At the same moment a step begins and pauses, or somebody decides and a step begins.
        order = 2 if event["type"] == "paused" else 0
        happened += [(_time(event["at"]), order, _show_audit_event, event)]
    for at, _, show, what in sorted(happened, key=lambda each: each[:2]):
        show(display, _offset(at, since), what)


def _show_step_run(display: Display, at: str, step_run: Document) -> None:
    status, took = step_run["status"], _seconds(step_run["created_at"], step_run["finished_at"])
    display.line(
        f"  {at}  {step_run['step']:<16} {step_run['kind']:<9} {status:<10} {took}",
        LOOKS.get(status),
    )
    for attempt in step_run["attempts"]:
        took = _seconds(attempt["started_at"], attempt["finished_at"])
        said = f"{attempt['status']:<10} {took}  {_first_line(attempt['error'])}"
        display.line(
            f"              attempt {attempt['number']}           {said}".rstrip(), "quiet"
        )


def _show_audit_event(display: Display, at: str, event: Document) -> None:
    by = f" by {event['actor']}" if event["actor"] else ""
    comment = f', saying "{event["comment"]}"' if event["comment"] else ""
    display.line(f"  {at}  {event['step']:<16} {'audit':<9} {event['type']}{by}{comment}")


def _first_line(error: Document | None) -> str:
    return "" if error is None else error["message"].partition("\n")[0]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _offset(at: datetime, since: datetime) -> str:
    return f"{max(0.0, (at - since).total_seconds()):6.2f} s"


def _seconds(start: str, end: str | None) -> str:
    return "unfinished" if end is None else f"{(_time(end) - _time(start)).total_seconds():6.3f} s"

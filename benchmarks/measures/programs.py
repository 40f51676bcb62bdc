"""Measures that are programs of their own, which also have other uses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.report import Bar, Measure, Reading
from benchmarks.servers import CHECKOUT


def output_of(module: str, *arguments: str) -> str:
    """Run a program of ours, and return what it has printed."""
    command = (sys.executable, "-m", module, *arguments)
    done = subprocess.run(  # noqa: S603  # our own program
        command, cwd=CHECKOUT, check=False, text=True, capture_output=True
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def stages(module: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run a program that prints a JSON document per stage, and return them by their names."""
    lines = [json.loads(line) for line in output_of(module, *arguments).splitlines()]
    return {line["stage"]: line for line in lines}


def timers(*, full: bool) -> Iterator[Reading]:
    """Let one ticker ring for timers that are due at once, among others that are not."""
    waiting, due = (100_000, 50_000) if full else (20_000, 10_000)
    told = stages(
        *("benchmarks.overload", "--waiting", str(waiting), "--due", str(due), "--silent", "0")
    )
    yield Reading("timers woken by one ticker", told["burst"]["woken_per_second"], "1/s")
    yield Reading("a round with nothing due", told["idle"]["milliseconds_per_round"], "ms")


MEASURES: Final = (
    Measure(
        name="timers",
        question="timers that are due at once, rung by one ticker",
        take=timers,
        bars={"timers woken by one ticker": Bar(at_least=2000)},
    ),
)

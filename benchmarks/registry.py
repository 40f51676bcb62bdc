"""Every measure, in the order in which they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from benchmarks.measures import (
    approvals,
    cost,
    idle,
    latency,
    long_run,
    programs,
    starts,
    straight,
    wide,
)
from benchmarks.report import Measure

PROGRAMS: Final = ("benchmarks.million", "benchmarks.memory", "benchmarks.tables")
"""Programs that can be started alone, too."""


def _of_programs() -> Iterator[Measure]:
    for name in PROGRAMS:
        if find_spec(name) is not None:
            yield from import_module(name).MEASURES


MEASURES: Final[tuple[Measure, ...]] = (
    *straight.MEASURES,
    *cost.MEASURES,
    *latency.MEASURES,
    *starts.MEASURES,
    *long_run.MEASURES,
    *wide.MEASURES,
    *approvals.MEASURES,
    *idle.MEASURES,
    *programs.MEASURES,
    *_of_programs(),
)


def named(names: list[str]) -> tuple[Measure, ...]:
    """Return the measures of these names, all of them for none; KeyError: the unknown name."""
    known = {measure.name: measure for measure in MEASURES}
    return tuple(known[name] for name in names) if names else MEASURES

"""Every measure, in the order in which they are taken."""

from __future__ import annotations

from typing import Final

from benchmarks import memory, million, tables
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
    *million.MEASURES,
    *tables.MEASURES,
    *memory.MEASURES,
)


def named(names: list[str]) -> tuple[Measure, ...]:
    """Return the measures of these names, all of them for none; KeyError: the unknown name."""
    known = {measure.name: measure for measure in MEASURES}
    return tuple(known[name] for name in names) if names else MEASURES

"""What was measured, beside what was to be reached: one table, one document.

A measure declares its bars; its program gives readings. Both meet here, so that
no figure is copied by hand and no bar is forgotten.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

BUSY: Final = 15
"""Percent of the processor that others may use beside a measure."""

FORMAT: Final = 1
"""The version of the JSON document."""


@dataclass(frozen=True)
class Bar:
    """What a figure has to reach; exactly one of both limits is given."""

    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a bar has exactly one limit")

    def is_reached(self, value: float) -> bool:
        """Return whether *value* is good enough; the limit itself is."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"at least {shown(self.at_least)}"
        return f"at most {shown(self.at_most or 0.0)}"


@dataclass(frozen=True)
class Reading:
    """One figure: what it is called, how much it is, and in what unit."""

    name: str
    value: float
    unit: str


class Program(Protocol):
    """What takes a measure: yields readings, slower and better ones with *full*."""

    def __call__(self, *, full: bool) -> Iterable[Reading]: ...


@dataclass(frozen=True)
class Measure:
    """One question, the program that answers it, and the bars for its answer.

    Attributes:
        name: What `--only` calls it.
        question: What is measured, in a sentence.
        take: The program.
        bars: By the name of the reading that they judge.
        no_bar: Why there is no bar; empty if there is one.
        only_full: Readings with a bar that a quick run does not take.
    """

    name: str
    question: str
    take: Program
    bars: Mapping[str, Bar] = field(default_factory=dict)
    no_bar: str = ""
    only_full: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Taken:
    """A measure that was taken, or failed.

    Attributes:
        seconds: How long it took.
        error: Why it failed, if it did.
        busy: How many percent of the processor others used right before it.
        left_out: There was no time for it.
    """

    measure: Measure
    readings: tuple[Reading, ...]
    seconds: float
    error: str | None = None
    busy: float = 0.0
    left_out: bool = False

    def missed(self) -> Iterator[Reading]:
        """Yield the readings that do not reach their bar."""
        for reading in self.readings:
            bar = self.measure.bars.get(reading.name)
            if bar is not None and not bar.is_reached(reading.value):
                yield reading

    def absent(self) -> Iterator[tuple[str, str]]:
        """Yield the names that have a bar and got no reading, and why."""
        if self.left_out:
            yield "everything", "no time left"
            return
        taken = {reading.name for reading in self.readings}
        for name in self.measure.bars:
            if name not in taken:
                is_only_full = name in self.measure.only_full
                yield name, "only in a full run" if is_only_full else "not measured"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return ours divided by theirs: the median over rounds, each a quotient of its own.

    What disturbs the machine for a while disturbs both of a round.

    >>> ratio([10.0, 4.0, 30.0], [5.0, 2.0, 10.0])
    2.0
    """
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that *percent* of all *values* do not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 50)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def shown(value: float) -> str:
    """Return *value* with three digits that matter.

    >>> shown(1234.5), shown(12.34), shown(0.01234), shown(0.0)
    ('1,234', '12.3', '0.0123', '0')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def document(taken: Iterable[Taken], facts: Mapping[str, object]) -> dict[str, Any]:
    """Return everything for programs; `measures` has one entry for each of *taken*."""
    return {"format": FORMAT, **facts, "measures": [_entry(each) for each in taken]}


def _entry(taken: Taken) -> dict[str, Any]:
    return {
        "name": taken.measure.name,
        "question": taken.measure.question,
        "no_bar": taken.measure.no_bar,
        "seconds": round(taken.seconds, 1),
        "busy_before": round(taken.busy),
        "error": taken.error,
        "absent": dict(taken.absent()),
        "readings": [_reading(taken.measure, reading) for reading in taken.readings],
    }


def _reading(measure: Measure, reading: Reading) -> dict[str, Any]:
    bar = measure.bars.get(reading.name)
    return {
        "name": reading.name,
        "value": reading.value,
        "unit": reading.unit,
        "bar": None if bar is None else {"at_least": bar.at_least, "at_most": bar.at_most},
        "reached": None if bar is None else bar.is_reached(reading.value),
    }


HEADS: Final = ("measure", "figure", "value", "unit", "bar", "result")


def rows(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the table of a `document`, one per reading."""
    for measure in document["measures"]:
        name = measure["name"]
        for reading in measure["readings"]:
            bar = reading["bar"]
            verdict = {True: "reached", False: "MISSED", None: ""}[reading["reached"]]
            limit = "" if bar is None else str(Bar(**bar))
            yield name, reading["name"], shown(reading["value"]), reading["unit"], limit, verdict
        for absent, why in measure["absent"].items():
            yield name, absent, "-", "", "", why
        if measure["error"]:
            yield name, measure["error"], "-", "", "", "FAILED"


def table(document: Mapping[str, Any]) -> str:
    """Return the table for people."""
    lines = [HEADS, *rows(document)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    align: list[Callable[[str, int], str]] = [str.ljust, str.ljust, str.rjust]
    align += [str.ljust] * (len(HEADS) - len(align))
    cells = (
        (how(cell, width) for how, cell, width in zip(align, line, widths, strict=True))
        for line in lines
    )
    text = "\n".join("  ".join(line).rstrip() for line in cells) + "\n"
    return "\n".join((text, *disturbances(document)))


def disturbances(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each measure before which the machine was not idle."""
    for measure in document["measures"]:
        if measure["busy_before"] > BUSY:
            yield (
                f"Do not trust {measure['name']}: right before it, others used "
                f"{measure['busy_before']} % of the processor.\n"
            )

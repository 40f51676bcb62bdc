"""Measure everything, and print it beside what is to be reached.

    python -m benchmarks --quick
    python -m benchmarks --full --json bench.json
    python -m benchmarks --only straight-1 latency

Peers are measured if they are installed: `pip install -e '.[bench]'`. The exit
code is 1 if a measure failed and, with `--strict`, if a bar was missed or not
measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import facts, used_by_others
from benchmarks.registry import MEASURES, named
from benchmarks.report import Measure, Reading, Taken, document, shown, table

BEGINS_WITHIN: Final = 200.0
"""Seconds after which a quick run begins no further measure; the last one needs some time, too."""


def take(measure: Measure, *, full: bool) -> Taken:
    """Take one measure; what goes wrong with it is reported and spoils no other."""
    busy = used_by_others()
    readings: list[Reading] = []
    error = None
    began = time.perf_counter()
    try:
        readings.extend(measure.take(full=full))
    except Exception as failure:  # noqa: BLE001  # whatever it is, it stands in the table
        traceback.print_exc()
        error = f"{type(failure).__name__}: {str(failure).partition(chr(10))[0]}"
    return Taken(measure, tuple(readings), time.perf_counter() - began, error, busy)


def say(text: str) -> None:
    """Tell a person how far it is."""
    sys.stderr.write(f"{text}\n")


def measure_all(
    measures: Sequence[Measure],
    *,
    full: bool,
    about: Mapping[str, object],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Take all *measures*, and return the document; those a quick run has no time for are named.

    *about* says where the figures come from. After each measure *keep* gets
    what there is, with the others as left out.
    """
    began = time.perf_counter()
    about = {"mode": "full" if full else "quick", **about}
    taken = []
    for number, measure in enumerate(measures, 1):
        if not full and time.perf_counter() - began > BEGINS_WITHIN:
            taken.append(Taken(measure, (), 0.0, left_out=True))
            continue
        say(f"{measure.name}: {measure.question} ...")
        taken.append(take(measure, full=full))
        for reading in taken[-1].readings:
            say(f"    {reading.name}: {shown(reading.value)} {reading.unit}")
        rest = [Taken(later, (), 0.0, left_out=True) for later in measures[number:]]
        keep(document([*taken, *rest], about))
    return document(taken, about)


def verdict(result: dict[str, Any], *, strict: bool) -> int:
    """Return the exit code for the document *result*."""
    measures = result["measures"]
    if any(measure["error"] for measure in measures):
        return 1
    missed = any(reading["reached"] is False for each in measures for reading in each["readings"])
    return int(strict and (missed or any(measure["absent"] for measure in measures)))


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for, and return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="less of everything, within 5 minutes")
    size.add_argument("--full", action="store_true", help="the default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here, too")
    parser.add_argument("--strict", action="store_true", help="a missed bar makes the exit code 1")
    names = [measure.name for measure in MEASURES]
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME")
    asked = parser.parse_args(arguments)
    target: Path | None = asked.json

    def keep(result: dict[str, Any]) -> None:
        # The better part of an hour is not lost with what comes after it.
        if target is not None:
            target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    result = measure_all(named(asked.only), full=not asked.quick, about=facts(), keep=keep)
    sys.stdout.write(table(result))
    return verdict(result, strict=asked.strict)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Takes the measures of one module: `python -m benchmarks.million --quick --json FILE`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Measure, Taken, document, table


def take(measures: Sequence[Measure], arguments: Sequence[str], *, about: str | None) -> None:
    """Take *measures* as the command line says, and print them beside their bars."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here, too")
    asked = parser.parse_args(arguments)
    taken = []
    for measure in measures:
        began = time.perf_counter()
        readings = tuple(measure.take(full=not asked.quick))
        taken.append(Taken(measure, readings, time.perf_counter() - began))
    result = document(taken, {"mode": "quick" if asked.quick else "full"})
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(result))

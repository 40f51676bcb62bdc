"""The generated parts of `docs/performance.md`, made of the document of a full run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.report import HEADS, disturbances, rows, shown
from benchmarks.work import OURS

SOURCE: Final = Path(__file__).parents[1] / "docs" / "performance.json"
"""What `make bench` wrote, when the figures in the documentation were taken."""

BEFORE: Final = SOURCE.with_name("performance-before.json")
"""The measure `cost`, as it was when a step still took the general path through SQLAlchemy."""

COST: Final = "cost"
"""The measure that has a table of its own."""


def read(source: Path = SOURCE) -> dict[str, Any]:
    """Return the document whose figures the documentation shows."""
    document: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return document


def figures(document: Mapping[str, Any] | None = None) -> str:
    """Return the table of all figures with their bars, but for those of `cost`."""
    taken = document or read()
    lines = [HEADS, tuple("---" for _ in HEADS), *(row for row in rows(taken) if row[0] != COST)]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return "\n".join((text, *disturbances(taken)))


def profile() -> str:
    """Return what a step of ours took before it was made cheap, and what it takes now."""
    before, now = (
        {
            reading["name"].removeprefix(f"{OURS}: "): reading
            for measure, reading in _readings(document)
            if measure["name"] == COST and reading["name"].startswith(f"{OURS}: ")
        }
        for document in (read(BEFORE), read())
    )
    lines = ["| per step | before | now | now / before |\n", "| --- | --- | --- | --- |\n"]
    for name, old in before.items():
        if name in now and old["value"]:
            values = (old["value"], now[name]["value"], now[name]["value"] / old["value"])
            what = f"{name}, {old['unit']}" if old["unit"] else name
            lines.append(f"| {what} | {' | '.join(map(shown, values))} |\n")
    return "".join(lines)


def cost(document: Mapping[str, Any] | None = None) -> str:
    """Return what a step costs: a column for each contestant."""
    cells: dict[str, dict[str, str]] = {}
    names: list[str] = []
    for measure, reading in _readings(document or read()):
        if measure["name"] == COST:
            name, _, what = reading["name"].partition(": ")
            heading = f"{what}, {reading['unit']}" if reading["unit"] else what
            cells.setdefault(heading, {})[name] = shown(reading["value"])
            names += [name] * (name not in names)
    heads = ("per step", *names)
    lines = [heads, tuple("---" for _ in heads)]
    lines += [(what, *(of[name] for name in names)) for what, of in cells.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine(document: Mapping[str, Any] | None = None) -> str:
    """Return where and with what the figures were taken."""
    taken = document or read()
    about, servers = taken["machine"], dict(taken["servers"])
    versions = {
        "Python": about["python"],
        "PostgreSQL": servers.pop("postgresql"),
        "Valkey": servers.pop("valkey"),
        **taken["versions"],
    }
    memory = f"{about['memory_gib']} GiB"
    lines = [
        f"* {about['cores']} cores ({about['processor']}), {memory}, {about['system']}",
        f"* {', '.join(f'{name} {version}' for name, version in versions.items())}",
        f"* PostgreSQL: {', '.join(f'`{name}` {value}' for name, value in servers.items())}",
        f"* a {taken['mode']} run",
    ]
    if taken["missing_peers"]:
        lines.append(f"* not installed, so not measured: {', '.join(taken['missing_peers'])}")
    return "\n".join(lines) + "\n"


def slower(document: Mapping[str, Any] | None = None) -> str:
    """Return where somebody else is faster, and the bars that are missed or not measured."""
    taken = document or read()
    lines = [*_behind(taken), *_missed(taken), *_absent(taken)]
    return "\n".join(lines or ["* nowhere: every bar is reached, and no peer is faster"]) + "\n"


def _behind(document: Mapping[str, Any]) -> Iterator[str]:
    for measure, reading in _readings(document):
        ours, _, other = reading["name"].partition(" / ")
        if ours == OURS and other and other != "floor" and reading["value"] < 1:
            times = shown(1 / reading["value"])
            yield f"* **{measure['name']}**: {other} does {times} times as much per second."


def _missed(document: Mapping[str, Any]) -> Iterator[str]:
    for measure, reading in _readings(document):
        if reading["reached"] is False:
            value = f"{shown(reading['value'])} {reading['unit']}"
            yield f"* **{measure['name']}**, bar missed: {reading['name']} is {value}."


def _absent(document: Mapping[str, Any]) -> Iterator[str]:
    for measure in document["measures"]:
        for name, why in measure["absent"].items():
            yield f"* **{measure['name']}**, {why}: {name}."
        if measure["error"]:
            yield f"* **{measure['name']}** failed: {measure['error']}."


def _readings(document: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    for measure in document["measures"]:
        for reading in measure["readings"]:
            yield measure, reading

"""Write the generated parts of the documentation, or say which of them are stale.

    python -m tools.make_docs
    python -m tools.make_docs --check

A generated part stands in a document between `<!-- generated: NAME -->` and
`<!-- end of NAME -->`; NAME is a key of `PARTS`. Everything around it is
written by people. Run it after a change to what it is generated from: the
state tables, the settings, the rules of declaration, the results, the
signals, the commands.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar, get_args

import click
from blinker import NamedSignal

import flask_squidmesh
from benchmarks import markdown
from flask_squidmesh import Settings, signals, types
from flask_squidmesh.cli import squidmesh_cli
from flask_squidmesh.config import known_keys
from flask_squidmesh.lifecycle import states
from flask_squidmesh.lifecycle.effects import EntryStatus
from flask_squidmesh.store import models
from tools.problems import EXAMPLES, find_problem

ROOT: Final = Path(__file__).parent.parent
PART: Final = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end of (?P=name) -->)",
    re.DOTALL,
)

_Status = TypeVar("_Status", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)


def documents(root: Path = ROOT) -> list[Path]:
    """Return every document of the repository that may have generated parts."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def renewed(text: str) -> str:
    """Return a document's *text* with its generated parts made again."""
    return PART.sub(lambda found: found["begin"] + PARTS[found["name"]]() + found["end"], text)


def main() -> None:
    """Write what is stale; with `--check` only name it, and exit with 1 if there is any."""
    stale = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if renewed(text) == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv[1:]:
            path.write_text(renewed(text), encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"stale: {', '.join(stale)}; run python -m tools.make_docs")
    print(f"written: {', '.join(stale)}" if stale else "The documentation is current.")


def table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def code(text: object) -> str:
    """Return *text* as Markdown code."""
    return f"`{text}`"


def listed(items: Iterable[object]) -> str:
    """Return *items* as code, separated by commas."""
    return ", ".join(code(item) for item in items)


def prose(text: str) -> str:
    """Return *text* for a table: outside of code nothing is taken for markup."""
    parts = text.split("`")
    return "`".join(p if n % 2 else p.replace("<", "&lt;") for n, p in enumerate(parts))


def lifecycle(moves: Mapping[tuple[_Status, _Event], _Status], entries: Iterable[str]) -> str:
    """Return the diagram of a state table, and the table itself."""
    terminal = states.terminal(moves)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {status}" for status in entries]
    lines += [f"    {source} --> {to}: {event}" for (source, event), to in moves.items()]
    lines += [f"    {status} --> [*]" for status in terminal]
    lines += ["```", "", ""]
    rows = ((code(source), code(event), code(to)) for (source, event), to in moves.items())
    ends = f"\nTerminal: {listed(terminal)}.\n"
    return "\n".join(lines) + table(("in this status", "on this event", "goes to"), rows) + ends


def settings() -> str:
    """Return every setting with its default and what it means."""
    meanings = _attributes(Settings)
    defaults = {field.name: field.default for field in fields(Settings)}

    def rows() -> Iterator[tuple[str, ...]]:
        for key in known_keys():
            name = key.removeprefix("SQUIDMESH_").lower()
            yield code(key), code(repr(defaults[name])), meanings[name]

    return table(("key", "default", "meaning"), rows())


def _attributes(documented: type) -> dict[str, str]:
    """Return the section `Attributes` of a class's docstring, by name."""
    section = inspect.cleandoc(documented.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.split(r"\n(?=    \S)", section.rstrip())
    pairs = (entry.strip().partition(": ") for entry in entries)
    return {name: prose(" ".join(text.split())) for name, _, text in pairs}


def problems() -> str:
    """Return every code of a definition problem with an example and what is said about it."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name, written in EXAMPLES.items():
            said = prose(find_problem(name, written).message).replace("|", "\\|")
            yield code(name), code(written.replace("|", "\\|")), said

    return table(("code", "written, for example", "what it says"), rows())


def results() -> str:
    """Return every result type with its fields."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name, kind in vars(types).items():
            if isinstance(kind, type) and issubclass(kind, types.Result) and is_dataclass(kind):
                described = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
                yield code(name), " ".join(described.split()), listed(f.name for f in fields(kind))

    return table(("type", "is", "fields"), rows())


def signal_table() -> str:
    """Return every signal with the arguments only it has."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name, signal in vars(signals).items():
            if isinstance(signal, NamedSignal):
                # Without one of its own it has the docstring of its class.
                own = vars(signal).get("__doc__") or ""
                yield code(name), "a step" if name.startswith("step_") else "a run", own

    return table(("signal", "about", "arguments of its own"), rows())


def tables() -> str:
    """Return every table with its key and its columns."""

    def rows() -> Iterator[tuple[str, ...]]:
        for found in models.METADATA.tables.values():
            key = [column.name for column in found.primary_key]
            others = [column.name for column in found.columns if column.name not in key]
            yield code(found.name), listed(key), listed(others)

    return table(("table", "key", "other columns"), rows())


def commands() -> str:
    """Return every command of `flask squidmesh` with its first sentence."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name, command in squidmesh_cli.commands.items():
            options = [
                max(parameter.opts, key=len)
                for parameter in command.params
                if isinstance(parameter, click.Option)
            ]
            yield code(f"flask squidmesh {name}"), command.get_short_help_str(200), listed(options)

    return table(("command", "does", "options"), rows())


def names() -> str:
    """Return every public name with the first line of its docstring."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name in flask_squidmesh.__all__:
            value = getattr(flask_squidmesh, name)
            described = inspect.cleandoc(value.__doc__ or "").partition("\n\n")[0]
            yield code(name), " ".join(described.split())

    return table(("name", "is"), rows())


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "run-states": lambda: lifecycle(states.RUN, (states.RunStatus.PENDING,)),
    "step-run-states": lambda: lifecycle(states.STEP_RUN, get_args(EntryStatus)),
    "attempt-states": lambda: lifecycle(states.ATTEMPT, (states.AttemptStatus.RUNNING,)),
    "settings": settings,
    "problems": problems,
    "results": results,
    "signals": signal_table,
    "tables": tables,
    "commands": commands,
    "names": names,
    "machine": markdown.machine,
    "figures": markdown.figures,
    "slower": markdown.slower,
    "cost": markdown.cost,
    "profile": markdown.profile,
}


if __name__ == "__main__":
    main()

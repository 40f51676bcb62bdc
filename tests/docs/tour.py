"""Follows a document from top to bottom, as somebody new does: a tour.

* A Python block that begins with a comment such as `# app.py` is saved as that
  file.
* The lines of an `sh` block are typed into a terminal, one after another; the
  first one stands in an empty folder.
* A `text` block right after it is what the last of them prints. `...` stands
  for anything; ids, times and addresses for what is printed in their place,
  and where an id was shown once, later commands mean what it stood for.
* `# leave it running` at the end of a command keeps the terminal for it; what
  follows is typed into another one, which begins in that folder, too.
* `# press Ctrl+C in the first terminal` does that.
* `<!-- not on the tour: REASON -->` right before a block leaves it out.

A command that only reads is repeated for a while until it prints what is
shown, since a worker may still be on its way.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from flask_squidmesh.clock import wait_until
from tests.docs.terminal import Terminal

ROOT: Final = Path(__file__).parents[2]

STAND_INS: Final[Mapping[str, str]] = {
    # No pip: what `pip install` asks for is there already, and `.venv/bin/pip` checks that it is.
    "python3 -m venv .venv": f"PYTHONPATH={shlex.quote(str(ROOT))} "
    f"{shlex.quote(sys.executable)} -m tests.docs.environment .venv",
}
"""The commands that are not run as they are written; all others are."""

_FENCE: Final = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE: Final = re.compile(r"# (?P<path>[\w./-]+\.\w+)\n")
_LEFT_OUT: Final = re.compile(r"<!-- not on the tour: [^\n]+ -->\s*\Z")
_LEAVE_RUNNING: Final = "# leave it running"
_PRESS: Final = "# press Ctrl+C in the first terminal"
_READS: Final = re.compile(r"flask (--app \S+ )?squidmesh (runs|explain|inspect|check) ?")
_AT_LAST: Final = 40.0

_VARIABLE: Final = re.compile(
    r"(?P<id>\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b)"
    r"|(?P<address>127\.0\.0\.1:\d+)"
    r"|(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00))"
    r"|(?P<anything>\.\.\.)"
    r"|(?P<gap> {2,})"
)
_STANDS_FOR: Final = {
    "address": r"127\.0\.0\.1:\d+",
    "anything": r".*?",
    "gap": r" {2,}",
    "id": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "time": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)",
}


class Block(NamedTuple):
    """A fenced block of a document, and what stands before it."""

    info: str
    text: str
    before: str


class WrongOutput(Exception):
    """A command did not print what the document shows."""


def blocks(document: str) -> Iterator[Block]:
    """Yield the fenced blocks that are on the tour."""
    end = 0
    for found in _FENCE.finditer(document):
        before, end = document[end : found.start()], found.end()
        if not _LEFT_OUT.search(before):
            yield Block(found["info"].strip(), found["text"], before)


class Tour:
    """Follows documents in *folder*, which is empty, with a terminal at hand.

    Also a context manager: at its end nothing runs any more.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder / "home"
        self._folder.mkdir()
        self._logs = folder
        self._environment = environment
        self._terminals: list[Terminal] = []
        self._undo = ExitStack()
        #: What the ids of the document stand for.
        self.learned: dict[str, str] = {}

    def __enter__(self) -> Tour:
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    def follow(self, document: str) -> None:
        """Do everything that *document* says, and compare everything it shows."""
        everything = list(blocks(document))
        for index, block in enumerate(everything):
            if block.info == "python" and (named := _FILE.match(block.text)):
                self._save(named["path"], block.text)
            elif block.info == "sh":
                follows = everything[index + 1] if index + 1 < len(everything) else None
                is_shown = follows and follows.info == "text" and not follows.before.strip()
                self._type(block.text, follows.text if follows and is_shown else None)

    def _save(self, path: str, text: str) -> None:
        # Where the first terminal stands is where a reader saves files.
        here = Path(self._terminals[0].type("pwd").strip()) if self._terminals else self._folder
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(text, encoding="utf-8")

    def _type(self, block: str, shown: str | None) -> None:
        lines = [line for line in block.replace("\\\n", "").splitlines() if line.strip()]
        for line in lines:
            self._do(line, shown if line is lines[-1] else None)

    def _do(self, line: str, shown: str | None) -> None:
        if line == _PRESS:
            self._terminals[0].interrupt()
        elif line.endswith(_LEAVE_RUNNING):
            terminal = next((t for t in self._terminals if not t.is_busy), None) or self._open()
            terminal.leave_running(self._meant(line))
            if shown is not None:
                wait_until(lambda: self._fits(shown, terminal.output), timeout=_AT_LAST)
                self._compare(line, shown, terminal.output)
        else:
            terminal = self._terminals[-1] if self._terminals else self._open()
            terminal = self._open() if terminal.is_busy else terminal
            command = STAND_INS.get(line, self._meant(line))
            printed = terminal.type(command)
            if shown is not None:
                if _READS.match(line) and not self._fits(shown, printed):
                    printed = self._type_until(shown, command, terminal)
                self._compare(line, shown, printed)

    def _type_until(self, shown: str, command: str, terminal: Terminal) -> str:
        """Repeat *command* until it prints what is shown, and return what it printed last."""
        printed = ""

        def fits() -> bool:
            nonlocal printed
            printed = terminal.type(command)
            return self._fits(shown, printed)

        wait_until(fits, timeout=_AT_LAST, interval=0.5)
        return printed

    def _open(self) -> Terminal:
        log = self._logs / f"terminal-{len(self._terminals) + 1}.log"
        terminal = Terminal(self._folder, self._environment, log)
        self._undo.callback(terminal.close)
        self._terminals.append(terminal)
        return terminal

    def _meant(self, line: str) -> str:
        """Return *line* with what the document's ids stand for."""
        for written, real in self.learned.items():
            line = line.replace(written, real)
        return line

    def _compare(self, command: str, shown: str, printed: str) -> None:
        found = re.search(self._pattern(shown), _tidy(printed), re.DOTALL)
        if found is None:
            raise WrongOutput(f"{command}\nis shown to print\n{shown}\nbut printed\n{printed}")
        for written, variable in self._variables(shown).items():
            self.learned[written] = found[variable]

    def _fits(self, shown: str, printed: str) -> bool:
        return re.search(self._pattern(shown), _tidy(printed), re.DOTALL) is not None

    def _variables(self, shown: str) -> dict[str, str]:
        """Return what is shown and stands for something unknown so far, with a name for each."""
        names: dict[str, str] = {}
        for found in _VARIABLE.finditer(shown):
            if found["id"] and found.group() not in self.learned:
                names.setdefault(found.group(), f"variable_{len(names)}")
        return names

    def _pattern(self, shown: str) -> str:
        """Return the pattern of what may be printed, whole."""
        names, seen = self._variables(shown), set[str]()
        parts, end, text = [], 0, _tidy(shown)
        for found in _VARIABLE.finditer(text):
            parts.append(re.escape(text[end : found.start()]))
            end, written = found.end(), found.group()
            if written in self.learned:
                parts.append(re.escape(self.learned[written]))
            elif written in seen:
                parts.append(f"(?P={names[written]})")
            elif written in names:
                seen.add(written)
                parts.append(f"(?P<{names[written]}>{_STANDS_FOR['id']})")
            else:
                kind = next(name for name in _STANDS_FOR if found[name] is not None)
                parts.append(_STANDS_FOR[kind])
        return rf"\A{''.join(parts)}{re.escape(text[end:])}\Z"


def _tidy(text: str) -> str:
    """Return *text* without spaces at the ends of its lines, and empty lines around it."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())

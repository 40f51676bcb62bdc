"""What a command did, saw and checked: for people as it happens, for programs as a document."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from flask_squidmesh import Clock
from minimal_host_app.narration import Display

LOOKS = {"did": None, "saw": None, "ok": "good", "FAILED": "bad"}


class CaseEnded(Exception):
    """A case can not go on; what is wrong stands in its checks."""


@dataclass(frozen=True)
class Check:
    """Something that had to be so, beside what was found."""

    what: str
    expected: Any
    found: Any

    @property
    def passed(self) -> bool:
        return bool(self.expected == self.found)

    def __str__(self) -> str:
        if self.passed:
            return f"{self.what}: {_short(self.found)}"
        return f"{self.what}: expected {self.expected!r}, found {self.found!r}"


@dataclass
class Case:
    """One story from beginning to end. As a context manager, it keeps errors as failed checks."""

    workflow: str
    title: str
    notes: list[tuple[str, str]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    seconds: float = 0.0
    _clock: Clock = field(default_factory=Clock, repr=False)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    def did(self, text: str) -> None:
        self.notes.append(("did", text))

    def saw(self, text: str) -> None:
        self.notes.append(("saw", text))

    def expect(self, what: str, found: Any, expected: Any) -> None:
        check = Check(what, expected, found)
        self.checks.append(check)
        self.notes.append(("ok" if check.passed else "FAILED", str(check)))

    def require(self, what: str, found: Any, expected: Any) -> None:
        """Expect what the rest of the case builds on."""
        self.expect(what, found, expected)
        if found != expected:
            raise CaseEnded

    def __enter__(self) -> Self:
        self._began = self._clock.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.seconds = self._clock.monotonic() - self._began
        if isinstance(error, Exception) and not isinstance(error, CaseEnded):
            self.expect("error", f"{type(error).__name__}: {error}", None)
        return error is None or isinstance(error, Exception)

    def show(self, display: Display) -> None:
        display.line()
        display.line(f"{self.workflow}: {self.title} ({self.seconds:.1f} s)", "heading")
        for kind, text in self.notes:
            display.line(f"  {kind:<6} {text}", LOOKS[kind])

    def to_dict(self) -> dict[str, Any]:
        return {
            "workflow": self.workflow,
            "title": self.title,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "notes": [{"kind": kind, "text": text} for kind, text in self.notes],
            "checks": [
                {
                    "what": check.what,
                    "expected": check.expected,
                    "found": check.found,
                    "passed": check.passed,
                }
                for check in self.checks
            ],
            "run_ids": self.run_ids,
        }


class Report:
    """Collects the cases of a command, and prints."""

    def __init__(self, command: str, *, as_json: bool) -> None:
        self.cases: list[Case] = []
        self.figures: dict[str, Any] = {}
        self.stack: dict[str, Any] = {}
        self.display = None if as_json else Display(sys.stdout)
        self._command = command
        self._clock = Clock()
        self._began = self._clock.monotonic()

    def line(self, text: str = "", look: str | None = None) -> None:
        """Say something to people."""
        if self.display is not None:
            self.display.line(text, look)

    def uses(self, stack: dict[str, Any]) -> None:
        """Say what everything ran on."""
        self.stack = stack
        self.line(f"flask {self._command}", "heading")
        for what, value in stack.items():
            self.line(f"  {what:<9} {value}")

    def add(self, case: Case) -> None:
        self.cases.append(case)
        if self.display is not None:
            case.show(self.display)

    def close(self, worker_logs: dict[str, list[str]]) -> int:
        """Print how it went; return the exit code."""
        checks = [check for case in self.cases for check in case.checks]
        failed = sum(not check.passed for check in checks)
        passed = bool(self.cases) and all(case.passed for case in self.cases)
        seconds = self._clock.monotonic() - self._began
        self.line()
        if not passed:
            for name, lines in worker_logs.items():
                self.line(f"the end of {name}:", "bad")
                for line in lines:
                    self.line(f"  {line}")
        count = f"{len(self.cases)} cases, {len(checks)} checks"
        if passed:
            self.line(f"{count}: all passed ({seconds:.1f} s)", "good")
        else:
            self.line(f"{count}: {failed} FAILED ({seconds:.1f} s)", "bad")
        if self.display is None:
            document = {
                "command": self._command,
                "passed": passed,
                "seconds": round(seconds, 3),
                "stack": self.stack,
                **self.figures,
                "cases": [case.to_dict() for case in self.cases],
                "worker_logs": {} if passed else worker_logs,
            }
            print(json.dumps(document, indent=2, default=str))
        return 0 if passed else 1


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."

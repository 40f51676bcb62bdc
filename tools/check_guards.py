"""Takes every guard of `tests/guards.md` out, one by one, and sees that its tests fail.

    python -m tools.check_guards [NAME ...]

Works in a temporary copy of the repository. Ends with 1 when a guard was not
found where the document says, a test does not fail without it, or does not pass
with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.postgres import postgres_server

ROOT: Final = Path(__file__).parents[1]
DOCUMENT: Final = ROOT / "tests" / "guards.md"
PASSED, FAILED = 0, 1
_SECTION: Final = re.compile(
    r"^## (?P<name>.+?)\n.+?^`(?P<path>[^`\n]+)`\n\n```diff\n(?P<diff>.+?)\n```\n\n"
    r"(?P<tests>(?:\* `[^`\n]+`\n)+)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Guard:
    """One guard: where it stands, what is left when it is taken out, which tests miss it."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def taken_out_of(self, text: str) -> str:
        """Return *text* without the guard.

        Raises:
            LookupError: The guard is not there, or not only once.
        """
        found = text.count(self.old)
        if found != 1:
            raise LookupError(f"{self.path} has it {found} times; bring tests/guards.md up to date")
        return text.replace(self.old, self.new)


def guards(text: str) -> Iterator[Guard]:
    """Yield the guards that the document's *text* describes."""
    for found in _SECTION.finditer(text):
        lines = found["diff"].split("\n")
        yield Guard(
            name=found["name"],
            path=found["path"],
            old="".join(f"{line[1:]}\n" for line in lines if line[:1] in "- "),
            new="".join(f"{line[1:]}\n" for line in lines if line[:1] in "+ "),
            tests=tuple(re.findall(r"`(.+?)`", found["tests"])),
        )


def copy_repository(target: Path) -> None:
    """Copy what git knows, or would take, to *target*."""
    git = shutil.which("git") or "git"
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Return pytest's exit code for *tests*, and the end of what it said."""
    quiet = ("-q", "-x", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, *tests],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, "\n".join((done.stdout + done.stderr).splitlines()[-25:])


def try_without(guard: Guard, folder: Path) -> list[str]:
    """Take *guard* out, and return what is wrong: tests that do not miss it."""
    file = folder / guard.path
    text = file.read_text()
    try:
        file.write_text(guard.taken_out_of(text))
        answers = {test: run_tests(folder, [test]) for test in guard.tests}
    except LookupError as error:
        return [f"{guard.name}: {error}"]
    finally:
        file.write_text(text)
    return [
        f"{guard.name}: {test} does not fail without it (exit code {code})\n{said}"
        for test, (code, said) in answers.items()
        if code != FAILED
    ]


def check(wanted: Sequence[str], folder: Path) -> list[str]:
    """Check the *wanted* guards, or all, in the copy in *folder*; return what is wrong."""
    known = [each for each in guards(DOCUMENT.read_text()) if not wanted or each.name in wanted]
    if not known:
        return [f"there is no guard called {' or '.join(wanted)} in {DOCUMENT.name}"]
    tests = sorted({test for guard in known for test in guard.tests})
    code, said = run_tests(folder, tests)
    if code != PASSED:
        return [f"the tests do not pass with all guards in place\n{said}"]
    problems: list[str] = []
    for guard in known:
        wrong = try_without(guard, folder)
        print(f"{'MISSED' if wrong else 'ok    '}  {guard.name}", flush=True)
        problems += wrong
    return problems


def main(wanted: Sequence[str]) -> int:
    """Check the *wanted* guards, or all; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="squidmesh-guards-") as folder, postgres_server() as it:
        os.environ.setdefault("SQUIDMESH_TEST_DATABASE_URL", it.url())
        copy_repository(Path(folder))
        problems = check(wanted, Path(folder))
    for problem in problems:
        print(f"\n{problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Stands in for pip on a tour: checks that what is to be installed could be, and is there.

The requirements have to be well-formed. This project's name, and its extras,
have to be those of `pyproject.toml`; every other package has to be installed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]


def main() -> int:
    """Return 0 when all that was asked for is there; else say what is not, and return 1."""
    command, *asked = sys.argv[1:] or [""]
    if command != "install" or not asked:
        print(f"this pip knows `pip install REQUIREMENT ...`, not {sys.argv[1:]}")
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wrong = [problem for text in asked for problem in problems(text, project)]
    print("\n".join(wrong) or f"Requirement already satisfied: {', '.join(asked)}")
    return 1 if wrong else 0


def problems(text: str, project: Mapping[str, object]) -> list[str]:
    """Return what is wrong with a requirement."""
    try:
        asked = Requirement(text)
    except InvalidRequirement as error:
        return [f"{text}: {error}"]
    if canonicalize_name(asked.name) != canonicalize_name(str(project["name"])):
        return [] if is_installed(asked) else [f"{text} is not installed"]
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    unknown = [f"{asked.name} has no extra {extra}" for extra in asked.extras - extras.keys()]
    if not asked.specifier.contains(str(project["version"]), prereleases=True):
        unknown.append(f"{text}: the version is {project['version']}")
    needed = [need for extra in asked.extras & extras.keys() for need in extras[extra]]
    return unknown + [f"{n} is not installed" for n in needed if not is_installed(Requirement(n))]


def is_installed(asked: Requirement) -> bool:
    """Return whether a package is there in a version that will do."""
    try:
        return asked.specifier.contains(version(asked.name), prereleases=True)
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())

"""Build the wheel and look at it where nothing of the checkout is in reach.

The wheel is built from the source distribution, so that one is complete, too.
It is installed with what it declares to depend on and nothing else: a module
that needs an extra must not need it at import. Then the unit tests run on it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "flask_squidmesh"

IMPORT_ALL = f"""
import importlib, pathlib, pkgutil, {PACKAGE}

for module in pkgutil.walk_packages({PACKAGE}.__path__, "{PACKAGE}."):
    importlib.import_module(module.name)
print(pathlib.Path({PACKAGE}.__file__).parent)
"""


def main() -> None:
    """Exit with a sentence about the first thing that is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        installed = install(wheel, folder / "venv")
        missing = files_of(ROOT / PACKAGE) - files_of(installed)
        if missing:
            sys.exit(f"the wheel lacks {', '.join(sorted(map(str, missing)))}")
        said = run_unit_tests(installed.parent, folder / "venv", folder / "elsewhere")
        print(said.splitlines()[-1])
        print(f"{wheel.name}: {len(files_of(installed))} files, all modules import")


def build(target: Path) -> Path:
    """Build both distributions into *target* and return the wheel."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT))
    (source,) = target.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        if not any("/tests/" in name for name in archive.getnames()):
            sys.exit("the source distribution lacks the tests")
    (wheel,) = target.glob("*.whl")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Install *wheel* into a new environment, import every module, return where they are."""
    venv.create(environment, symlinks=True, with_pip=True)
    python = str(environment / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    installed = Path(run(python, "-I", "-c", IMPORT_ALL).strip())
    if not installed.is_relative_to(environment):
        sys.exit(f"{PACKAGE} was imported from {installed}, not from the wheel")
    return installed


def run_unit_tests(packages: Path, environment: Path, folder: Path) -> str:
    """Run a copy of the unit tests in *folder* on what is installed in *environment*."""
    # pytest and its plugins are borrowed from here; what the wheel brought comes first.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    shutil.copytree(ROOT / "tests", folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return run(str(environment / "bin" / "python"), "-m", "pytest", "tests/unit", cwd=folder)


def files_of(package: Path) -> set[Path]:
    """Return the files below *package*, relative to it."""
    files = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    return {path for path in files if "__pycache__" not in path.parts}


def run(*command: str, cwd: Path | None = None) -> str:
    """Run *command* and return what it said; exit with all of that when it fails."""
    result = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}")
    return result.stdout


if __name__ == "__main__":
    main()

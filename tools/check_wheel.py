"""Build the wheel and look at it where nothing of the checkout is in reach.

The wheel is built from the source distribution, so that one is complete, too.
It is installed with what it declares to depend on and nothing else: a module
that needs an extra must not need it at import. It has to hold exactly the
files of the package. An application is taken from an empty folder to a
finished run with the commands a new user types, and then the unit tests run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parent.parent
PACKAGE = "flask_squidmesh"
PLUGIN = "flask_squidmesh_pytest.py"

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
        compare(installed)
        try_as_a_user(folder / "venv", folder / "shop")
        said = run_unit_tests(installed.parent, folder / "venv", folder / "elsewhere")
        print(said.splitlines()[-1])
        print(
            f"{wheel.name}: {len(files_of(installed))} files, those of the checkout; all modules "
            "import; an application went from an empty folder to a completed run"
        )


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
    # The pip of this environment fills the other one, which needs none of its own.
    venv.create(environment, symlinks=True, with_pip=False)
    python = str(environment / "bin" / "python")
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet")
    run(*pip, "--disable-pip-version-check", "install", str(wheel))
    installed = Path(run(python, "-I", "-c", IMPORT_ALL).strip())
    if not installed.is_relative_to(environment):
        sys.exit(f"{PACKAGE} was imported from {installed}, not from the wheel")
    return installed


def compare(installed: Path) -> None:
    """Exit when the wheel does not hold exactly what the checkout holds."""
    theirs, ours = files_of(installed), files_of(ROOT / PACKAGE)
    for path in (ROOT / PLUGIN, installed.parent / PLUGIN):
        (ours if path.parent == ROOT else theirs)[Path("..", PLUGIN)] = path.read_bytes()
    for what, names in (
        ("lacks", ours.keys() - theirs.keys()),
        ("has, unlike the checkout,", theirs.keys() - ours.keys()),
        ("has changed", {name for name in ours.keys() & theirs if ours[name] != theirs[name]}),
    ):
        if names:
            sys.exit(f"the wheel {what} {', '.join(sorted(map(str, names)))}")
    if Path("py.typed") not in theirs:
        sys.exit("the wheel lacks py.typed: type checkers would ignore the annotations")


def try_as_a_user(environment: Path, folder: Path) -> None:
    """Take a new application in *folder* from nothing to a completed run."""
    folder.mkdir()
    shutil.copy(ROOT / "tools" / "wheel_app.py", folder / "app.py")
    flask = str(environment / "bin" / "flask")

    def ask(*arguments: str, code: int = 0) -> str:
        return run(flask, *arguments, cwd=folder, code=code)

    expect("'flask squidmesh install' and 'flask db upgrade'", ask("squidmesh", "runs", code=1))
    expect("'flask db init' first", ask("squidmesh", "install", code=1))
    ask("db", "init")
    expect("1. flask db upgrade", ask("squidmesh", "install"))
    ask("db", "upgrade")
    # The application's own table; autogenerate knows that the library's are there.
    expect("Detected added table 'refunds'", said := ask("db", "migrate"))
    if "squidmesh" in said:
        sys.exit(f"autogenerate found tables of the library to change:\n{said}")
    ask("db", "upgrade")
    with background(flask, "squidmesh", "dev", "--port", "0", cwd=folder) as url:
        started = http(
            f"{url}/squidmesh/workflows/refund_order/runs", {"payload": {"order": "A-17"}}
        )
        expect("run is completed", ask("squidmesh", "watch", started["id"]))
        run_now = json.loads(ask("squidmesh", "inspect", started["id"], "--json"))
        expect("A-17 is paid.", run_now["context"]["letter"])
        if http(f"{url}/squidmesh/runs/{started['id']}?include_history=1") != run_now:
            sys.exit("a run looks different over HTTP and on the command line")


def http(url: str, body: object = None) -> Any:
    """Return the document that a server answers with."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  # our own server
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


@contextmanager
def background(*command: str, cwd: Path) -> Iterator[str]:
    """Start a server, give the address it names, and end it as an operator does."""
    with (cwd / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=cwd, env=environ(), text=True, stdout=subprocess.PIPE, stderr=log
        )
    try:
        found = re.search(r"http://\S+", server.stdout.readline()) if server.stdout else None
        if found is None:
            sys.exit(f"{' '.join(command)} failed:\n{(cwd / 'server.log').read_text()}")
        yield found[0]
        server.send_signal(signal.SIGTERM)
        if server.wait(timeout=30):
            sys.exit(f"{' '.join(command)} did not end in good order")
    finally:
        server.kill()
        server.communicate()


def run_unit_tests(packages: Path, environment: Path, folder: Path) -> str:
    """Run a copy of the unit tests in *folder* on what is installed in *environment*."""
    # pytest and its plugins are borrowed from here; what the wheel brought comes first.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    for name in ("tests", "tools", "benchmarks"):  # what unit tests are about, besides the package
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    python = str(environment / "bin" / "python")
    return run(python, "-m", "pytest", "-n", "2", "tests/unit", cwd=folder)


def files_of(package: Path) -> dict[Path, bytes]:
    """Return what the files below *package* hold, by their paths relative to it."""
    files = (path for path in package.rglob("*") if path.is_file())
    return {
        path.relative_to(package): path.read_bytes()
        for path in files
        if "__pycache__" not in path.parts
    }


def environ() -> dict[str, str]:
    """Return an environment in which nothing leads to the checkout."""
    unwanted = ("PYTHON", "FLASK", "SQUIDMESH", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def expect(words: str, said: str) -> None:
    """Exit unless *words* are among what was *said*."""
    if words not in said:
        sys.exit(f"expected {words!r} in:\n{said}")


def run(*command: str, cwd: Path | None = None, code: int = 0) -> str:
    """Run *command* and return what it said; exit with all of that when it ends otherwise."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != code:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}")
    return result.stdout


if __name__ == "__main__":
    main()

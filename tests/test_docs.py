"""The documentation holds: its examples run, its generated parts are current, nothing is missing.

The Python blocks of a document are one program, in the order they stand in,
run by a Python of its own in an empty folder. A block that begins with a
comment such as `# billing/workflows.py` is that file, imported where the block
stands. `python notest` marks a block that is not run; its reason stands in a
comment right above it. Of shell blocks, the commands of `flask squidmesh` and
their options must exist; `tests/docs` follows some documents command by command.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from blinker import NamedSignal

import flask_squidmesh
from flask_squidmesh import SquidMesh, SquidMeshError, exceptions, signals, testing
from flask_squidmesh.cli import squidmesh_cli
from flask_squidmesh.config import known_keys
from tools import make_docs
from tools.problems import EXAMPLES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_squidmesh"
DOCUMENTS = make_docs.documents(ROOT)
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (?P<path>[\w/]+\.py)\n")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
ROW = re.compile(r"^\| `(?P<key>[\w.]+)` \|", re.MULTILINE)
CODE = re.compile(r"[a-z]+(_[a-z]+)*")
NOT_OF_THE_CALLER = {"authorize", "init_app", "register"}


class Block(NamedTuple):
    """A fenced block: where its text begins, what it is said to be, the text."""

    line: int
    info: str
    text: str
    before: str


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(line, found["info"].strip(), found["text"], text[: found.start()])


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def written(name: str) -> str:
    """Return a document as people wrote it, without its generated parts."""
    return make_docs.PART.sub("", read(name))


def rows(text: str) -> set[str]:
    """Return what stands in the first column of a document's tables."""
    return {found["key"] for found in ROW.finditer(text)}


def write_program(path: Path, folder: Path) -> Path | None:
    """Write the Python blocks of a document to *folder*; None when there are none."""
    lines: list[str] = []
    for block in blocks(path):
        if block.info != "python":
            continue
        # A traceback then names the lines of the document.
        lines += [""] * (block.line - len(lines))
        if named := FILE.match(block.text):
            module = folder / named["path"]
            module.parent.mkdir(parents=True, exist_ok=True)
            module.write_text(block.text, encoding="utf-8")
            lines.append(f"import {named['path'].removesuffix('.py').replace('/', '.')}")
        else:
            lines += block.text.splitlines()
    if not lines:
        return None
    # Not by its own name: that may be one of Python's modules.
    program = folder / f"document_{path.stem}.py"
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return program


@pytest.mark.parametrize("path", DOCUMENTS, ids=label)
def test_examples_run(path, tmp_path):
    program = write_program(path, tmp_path)
    if program is None:
        return
    ran = subprocess.run(
        [sys.executable, "-W", "error", program.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, f"{label(path)}\n{ran.stdout}{ran.stderr}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=label)
def test_a_block_that_is_not_run_says_why(path):
    for block in blocks(path):
        assert block.info in {
            "",
            "python",
            "python notest",
            "sh",
            "ini",
            "text",
            "mermaid",
            "json",
            "sql",
        }
        if block.info == "python notest":
            assert block.before.rstrip().endswith("-->"), f"{label(path)}:{block.line}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=label)
def test_commands_in_shell_blocks_exist(path):
    for block in blocks(path):
        if block.info != "sh":
            continue
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True)
            for start, word in enumerate(words[:-1]):
                if word == "flask" and words[start + 1] == "squidmesh":
                    assert_command_exists(words[start + 2 :])
            if words[:1] == ["make"]:
                assert re.search(rf"^{words[1]}:", read("Makefile"), re.MULTILINE)


def assert_command_exists(words: list[str]) -> None:
    command = squidmesh_cli.commands[words[0]]
    known = {option for parameter in command.params for option in parameter.opts}
    end = next((at for at, word in enumerate(words) if word in {"&&", "|", ";"}), len(words))
    used = {word.partition("=")[0] for word in words[1:end] if word.startswith("-")}
    assert used <= known


def test_targets_of_make_exist():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = {
        name for path in DOCUMENTS for name in re.findall(r"`make ([a-z-]+)`", read(label(path)))
    }
    assert {"demo", "test", "docs"} <= named <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=label)
def test_links_within_the_repository_resolve(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for found in LINK.finditer(text):
        target, _, anchor = found["target"].partition("#")
        if "://" in target:
            continue
        linked = (path.parent / target).resolve() if target else path
        assert linked.exists(), found["target"]
        if anchor:
            assert anchor in anchors(linked), found["target"]


def anchors(path: Path) -> set[str]:
    """Return the anchors a forge gives to the headings of a document."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("path", DOCUMENTS, ids=label)
def test_generated_parts_are_current(path):
    text = path.read_text(encoding="utf-8")
    assert make_docs.renewed(text) == text, "run python -m tools.make_docs"


def test_every_generated_part_is_in_use():
    used = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert [name for name in make_docs.PARTS if f"<!-- generated: {name} -->" not in used] == []


def test_every_document_can_be_reached_from_the_readme():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        for found in LINK.finditer(path.read_text(encoding="utf-8")):
            target = (path.parent / found["target"].partition("#")[0]).resolve()
            if target in DOCUMENTS:
                waiting.append(target)
    assert set(DOCUMENTS) - reached == set()


def test_every_public_name_is_explained():
    # A generated list of names explains none of them.
    text = "".join(written(label(path)) for path in DOCUMENTS)
    missing = [n for n in flask_squidmesh.__all__ if not re.search(rf"\b{n}\b", text)]
    assert missing == []


def test_every_method_is_explained():
    public = {name for name in vars(SquidMesh) if not name.startswith("_")} - NOT_OF_THE_CALLER
    text = read("docs/running.md")
    assert [name for name in public if f"`{name}" not in text] == []


def test_every_setting_is_explained():
    assert set(known_keys()) <= rows(read("docs/configuration.md"))
    text = written("docs/configuration.md")
    assert [key for key in known_keys() if f"`{key}`" not in text] == []


def test_every_signal_is_explained():
    names = {name for name, value in vars(signals).items() if isinstance(value, NamedSignal)}
    assert names <= rows(written("docs/signals.md"))


def test_every_testing_helper_is_explained():
    text = read("docs/testing.md")
    assert [name for name in testing.__all__ if f"`{name}" not in text] == []


def error_sections() -> dict[str, str]:
    parts = re.split(r"^### `(\w+)`$", read("docs/errors.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_error_is_explained_with_its_attributes():
    sections = error_sections()
    errors = {
        name: kind
        for name, kind in vars(exceptions).items()
        if isinstance(kind, type)
        and issubclass(kind, SquidMeshError)
        and kind.__module__ == exceptions.__name__
    }
    assert set(sections) == set(errors)
    for name, kind in errors.items():
        assert [a for a in attributes_of(kind) if f"`{a}`" not in sections[name]] == []


def attributes_of(kind: type) -> set[str]:
    """Return the attributes that the constructor of an error sets."""
    if "__init__" not in vars(kind):
        return set()
    body = ast.parse(textwrap.dedent(inspect.getsource(vars(kind)["__init__"])))
    return {
        node.attr
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def test_exactly_the_stored_error_codes_are_explained():
    text = read("docs/errors.md").partition("## Stored errors")[2]
    assert rows(text) == set(stored_codes())


def stored_codes() -> Iterator[str]:
    """Yield the codes of the error documents that the engine makes."""
    for layer in ("engine", "lifecycle"):
        for module in (PACKAGE / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and name_of(node.func) in {"make", "_loaded"}:
                    yield from codes_among(node.args)
                elif isinstance(node, ast.Dict):
                    pairs = zip(node.keys, node.values, strict=True)
                    yield from codes_among([v for k, v in pairs if text_of(k) == "code"])
    yield "step_failed"  # where the raiser gave none


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def text_of(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def codes_among(nodes: list[ast.expr]) -> Iterator[str]:
    """Yield what may be a code; `_loaded` is also told what it loads."""
    texts = (text_of(node) for node in nodes)
    return (text for text in texts if CODE.fullmatch(text) and text not in {"input", "output"})


def test_exactly_the_codes_of_definition_problems_are_explained():
    assert set(problem_codes()) == set(EXAMPLES)
    assert set(EXAMPLES) <= rows(read("docs/authoring.md"))


def problem_codes() -> Iterator[str]:
    """Yield the codes under which the rules of declaration report."""
    for module in (PACKAGE / "definition").glob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
            for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
                if name_of(call.func) == "Finding":
                    yield from codes_of(call.args[2], function)
                elif name_of(call.func) == "Problem":
                    yield from filter(None, [text_of(call.args[1])])


def codes_of(argument: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str(code)):
            yield code
        case ast.JoinedStr():
            suffix = text_of(argument.values[-1])
            yield from (f"{kind}{suffix}" for kind in ("pause", "approval"))
        case ast.Name():
            # A loop over pairs that end with the code.
            for pair in (n for n in ast.walk(function) if isinstance(n, ast.Tuple)):
                yield from filter(CODE.fullmatch, [text_of(pair.elts[-1])])

"""What turns the documents, as a forge shows them, into pages of the site.

Used by `docs/conf.py`. In a document

* a comment such as `<!-- {toctree} ... -->` is a directive of that name,
* `<!-- document: ../CHANGELOG.md -->` is the text of another document,
* `<!-- unreleased -->` is the text of all changelog fragments,
* what stands between `<!-- forge -->` and `<!-- end of forge -->` is left out,

and links to what is no page of the site are made to lead somewhere.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes
from sphinx.domains.python import PyObject  # type: ignore[attr-defined]  # re-exported, as documented
from sphinx.pycode import ModuleAnalyzer

from flask_squidmesh.definition import declarations

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"

FENCE: Final = re.compile(r"^(```+).*?^\1$", re.DOTALL | re.MULTILINE)
DIRECTIVE: Final = re.compile(
    r"^<!-- \{(?P<name>[\w:-]+)\}(?P<argument>[^\n]*?)(?:\n(?P<body>.*?))? ?-->$",
    re.DOTALL | re.MULTILINE,
)
DOCUMENT: Final = re.compile(r"^<!-- document: (?P<path>\S+) -->$", re.MULTILINE)
FORGE: Final = re.compile(r"<!-- forge -->\n.*?<!-- end of forge -->\n", re.DOTALL)
UNRELEASED: Final = "<!-- unreleased -->"
LINK: Final = re.compile(r"(?P<text>(?P<image>!?)\[[^\]]*\])\((?P<target>[^)\s]+)\)")

PAGES: Final = {
    ROOT / "README.md": DOCS / "index.md",
    ROOT / "CHANGELOG.md": DOCS / "changelog.md",
    ROOT / "examples/minimal_host_app/README.md": DOCS / "example.md",
}
"""Documents elsewhere in the repository, and the pages that stand for them."""

KINDS: Final = {
    "added": "Added",
    "changed": "Changed",
    "fixed": "Fixed",
    "removed": "Removed",
}

HANDED_OUT: Final = frozenset(
    {
        *("Attempt", "AuditEvent", "Explanation", "GraphEdge", "GraphNode", "Run", "RunGraph"),
        *("RunPage", "StepRun", "StepState", "TickResult"),
        *("Chain", "Definition", "Problem", "Settings", "Step", "StepContext", "Trigger"),
    }
)
"""Classes whose objects nobody makes by calling the class."""

NAMES: Final = {
    "celery.app.base.Celery": "celery.Celery",
    "flask.app.Flask": "flask.Flask",
    "flask_squidmesh.definition.spec.BackoffSpec": "flask_squidmesh.Backoff",
    "flask_squidmesh.definition.spec.RetrySpec": "flask_squidmesh.Retry",
    "~flask_squidmesh.extension.A": "A",
    "~flask_squidmesh.extension.W": "W",
    "marshmallow.schema.Schema": "marshmallow.Schema",
    "sqlalchemy.engine.base.Engine": "sqlalchemy.Engine",
    "sqlalchemy.orm.scoping": "sqlalchemy.orm",
    "sqlalchemy.orm.session": "sqlalchemy.orm",
}
"""Where things are defined, and what signatures call them."""

_PYTHON: Final = "https://docs.python.org/3/library"
_SQLALCHEMY: Final = "https://docs.sqlalchemy.org/en/20"

ELSEWHERE: Final = {
    "celery.Celery": "https://docs.celeryq.dev/en/stable/reference/celery.html#celery.Celery",
    "collections.abc": f"{_PYTHON}/collections.abc.html#",
    "datetime": f"{_PYTHON}/datetime.html#",
    "flask.Flask": "https://flask.palletsprojects.com/en/stable/api/#flask.Flask",
    "httpx.Client": "https://www.python-httpx.org/api/#client",
    "marshmallow": "https://marshmallow.readthedocs.io/en/stable/api_reference.html#",
    "marshmallow.fields": "https://marshmallow.readthedocs.io/en/stable/marshmallow.fields.html#",
    "sqlalchemy.Engine": f"{_SQLALCHEMY}/core/connections.html#sqlalchemy.engine.Engine",
    "sqlalchemy.orm.Session": f"{_SQLALCHEMY}/orm/session_api.html#sqlalchemy.orm.Session",
    "sqlalchemy.orm.scoped_session": f"{_SQLALCHEMY}/orm/contextual.html",
}
"""Where others document their names, or whole modules of theirs (the address ends with `#`).

No inventory is fetched, so that a build needs no network.
"""


def install(app: Sphinx) -> None:
    """Connect what is here to the events of a build."""
    app.connect("builder-inited", _forget_overloads)
    app.connect("source-read", _read)
    app.connect("autodoc-process-signature", _signature)
    app.connect("missing-reference", _find_elsewhere)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            # What docstrings call them; Sphinx says "Variables".
            field.label = "Attributes"


def page(path: Path, text: str) -> str:
    """Return the text of the document at *path* as the site has it."""
    text = FORGE.sub("", text)
    text = DOCUMENT.sub(lambda found: _document(path.parent / found["path"], path.parent), text)
    text = text.replace(UNRELEASED, unreleased())
    text = outside_fences(text, lambda part: relinked(part, path.parent, path.parent))
    return DIRECTIVE.sub(_directive, text)


def unreleased(folder: Path = ROOT / "changelog.d") -> str:
    """Return the changelog fragments by kind, as Markdown."""
    parts = ["## Not released yet\n"]
    for kind, title in KINDS.items():
        found = sorted(folder.glob(f"*.{kind}.md"))
        texts = (" ".join(path.read_text(encoding="utf-8").split()) for path in found)
        if found:
            parts.append(f"### {title}\n\n" + "".join(f"* {text}\n" for text in texts))
    # A release moves them to the changelog, so that is where their links start.
    return relinked("\n".join(parts), folder.parent, DOCS)


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Return *text* with everything changed that is no fenced block."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def relinked(text: str, source: Path, target: Path) -> str:
    """Return the text of a document in folder *source* for a page in folder *target*.

    Links to documents that are no pages lead to the page that stands for them;
    links to folders become plain text.
    """

    def relink(found: re.Match[str]) -> str:
        link, hash_, anchor = found["target"].partition("#")
        if "://" in link or not link:
            return found.group()
        path = (source / link).resolve()
        path = PAGES.get(path, path)
        if path.is_dir():
            return found["text"].removeprefix("!").strip("[]")
        return f"{found['text']}({os.path.relpath(path, target)}{hash_}{anchor})"

    return LINK.sub(relink, text)


def _document(path: Path, target: Path) -> str:
    """Return the text of another document without its title, for a page in folder *target*."""
    path = path.resolve()
    _, _, text = path.read_text(encoding="utf-8").partition("\n")
    return outside_fences(text.strip(), lambda part: relinked(part, path.parent, target))


def _directive(found: re.Match[str]) -> str:
    lines = (found["body"] or "").rstrip("\n").splitlines()
    if found["name"] == "toctree":
        # A place may be kept for pages that are not there.
        lines = [line for line in lines if "*" not in line or any(DOCS.glob(f"{line}.md"))]
    return "\n".join([f"```{{{found['name']}}}{found['argument']}", *lines, "```"])


def _read(app: Sphinx, docname: str, content: list[str]) -> None:
    content[0] = page(Path(app.env.doc2path(docname)), content[0])


def _forget_overloads(_app: Sphinx) -> None:
    """Have one signature shown where there are several only for type checkers."""
    analyzer = ModuleAnalyzer.for_module(declarations.__name__)
    analyzer.analyze()
    analyzer.overloads.clear()


def _signature(*event: Any) -> tuple[str | None, str | None]:
    """Use public names; leave out what distracts.

    That is how what is only handed out would be made, and the types of
    declarations, which take anything so that mistakes are reported together.
    """
    _app, what, name, documented, _options, signature, returns = event
    if what == "class" and name.rpartition(".")[2] in HANDED_OUT:
        return "", None
    if getattr(documented, "__module__", None) == declarations.__name__:
        plain = inspect.signature(documented)
        parameters = [p.replace(annotation=p.empty) for p in plain.parameters.values()]
        return str(inspect.Signature(parameters)), None
    return _renamed(signature), _renamed(returns)


def _renamed(text: str | None) -> str | None:
    for defined, called in NAMES.items():
        text = text and text.replace(defined, called)
    return text


def _find_elsewhere(
    _app: Sphinx, _env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.reference | None:
    target = node.get("reftarget", "")
    address = ELSEWHERE.get(target)
    if address is None:
        address = ELSEWHERE.get(target.rpartition(".")[0])
        if address is None or not address.endswith("#"):
            return None
        address += target
    return nodes.reference("", "", contnode, internal=False, refuri=address)

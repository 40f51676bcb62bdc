"""The documents become pages of the site; building it, with warnings as errors, is `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flask_squidmesh
from flask_squidmesh import testing, tools
from tools import docs_site

DOCS = docs_site.DOCS
NAMED = re.compile(r"^\.\. (?:auto|py:)\w+:: (?P<name>[\w.]+)", re.MULTILINE)


def page(text: str, *, name: str = "index.md") -> str:
    return docs_site.page(DOCS / name, text)


def test_comment_is_a_directive():
    assert page("<!-- {toctree}\n:hidden:\nrunning\n-->\n") == (
        "```{toctree}\n:hidden:\nrunning\n```\n"
    )


def test_other_comments_stay_comments():
    assert page("<!-- generated: names -->\n") == "<!-- generated: names -->\n"


def test_place_kept_for_pages_that_are_not_there_is_left_out():
    assert page("<!-- {toctree}\n:glob:\nnowhere*\nconcepts/*\n-->") == (
        "```{toctree}\n:glob:\nconcepts/*\n```"
    )


def test_what_only_a_forge_needs_is_left_out():
    assert page("a\n<!-- forge -->\nb\n<!-- end of forge -->\nc\n") == "a\nc\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[a](../README.md)", "[a](index.md)"),
        ("[a](../README.md#how-it-works)", "[a](index.md#how-it-works)"),
        ("[a](../examples/minimal_host_app/README.md)", "[a](example.md)"),
        ("[a](../examples)", "a"),
        ("[a](running.md#start_run)", "[a](running.md#start_run)"),
        ("[a](../pyproject.toml)", "[a](../pyproject.toml)"),
        ("[a](https://example.org)", "[a](https://example.org)"),
        ("[a](#here)", "[a](#here)"),
    ],
)
def test_links_lead_somewhere(written, shown):
    assert page(written) == shown


def test_code_is_left_as_it_is():
    code = "```text\n[a](../README.md)\n```\n"
    assert page(code) == code


def test_page_shows_another_document_with_its_links():
    shown = page("# Changes\n\n<!-- document: ../CHANGELOG.md -->\n", name="changelog.md")
    assert shown.startswith("# Changes\n\nVersions follow [semantic versioning]")
    assert "<!--" not in shown


def test_unreleased_changes_stand_under_their_kind(tmp_path):
    folder = tmp_path / "changelog.d"
    folder.mkdir()
    (folder / "README.md").write_text("not a change")
    (folder / "1.fixed.md").write_text("It works,\nat last.\n")
    (folder / "2.added.md").write_text("Something new.\n")
    assert docs_site.unreleased(folder).splitlines() == [
        *("## Not released yet", ""),
        *("### Added", "", "* Something new.", ""),
        *("### Fixed", "", "* It works, at last."),
    ]


def test_every_kind_of_change_is_shown():
    known = {path.name.split(".")[-2] for path in (DOCS.parent / "changelog.d").glob("*.*.md")}
    assert known <= set(docs_site.KINDS)


def test_every_public_name_is_in_the_reference():
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    shown = {name.rpartition(".")[2] for name in NAMED.findall(text)}
    public = {*flask_squidmesh.__all__, *testing.__all__, *tools.__all__}
    assert public - shown == set()


@pytest.mark.parametrize(
    "path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS))
)
def test_every_directive_of_a_document_is_understood(path: Path):
    text = path.read_text(encoding="utf-8")
    shown = docs_site.page(path, text)
    assert not re.search(r"^<!-- (\{|forge|document|unreleased)", shown, re.MULTILINE)

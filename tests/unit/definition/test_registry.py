"""Workflows by name, and by import path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_squidmesh.definition.declarations import complete, manual, step
from flask_squidmesh.definition.registry import Registry
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.exceptions import ConfigError, UnknownWorkflow, WorkflowDefinitionError

SOURCE = """
from flask_squidmesh.definition.declarations import complete, manual, step
from flask_squidmesh.definition.workflow import Workflow

class {name}(Workflow):
    start = manual()
    work = step(print)
    transitions = [work >> complete]
"""


def declare(name: str) -> type[Workflow]:
    class Declared(Workflow):
        start = manual()
        work = step(print)
        transitions = (work >> complete,)

    Declared.name = name
    return Declared


@pytest.fixture
def billing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that is importable in this test only; return its name."""
    name = f"billing_{abs(hash(tmp_path)):x}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "recovery.py").write_text(SOURCE.format(name="Recovery"))
    (package / "digest.py").write_text(
        f"from {name}.recovery import Recovery\n"
        + SOURCE.format(name="Digest")
        + "Again = Digest\n"
    )
    (package / "empty.py").write_text("from flask_squidmesh.definition.workflow import Workflow\n")
    (package / "broken.py").write_text("import not_installed_anywhere\n")
    (package / "wrong.py").write_text(SOURCE.format(name="Wrong").replace(">> complete", ""))
    flows = package / "flows"
    flows.mkdir()
    (flows / "__init__.py").write_text(
        f"from {name}.flows.inner import Inner\nfrom {name}.recovery import Recovery\n"
    )
    (flows / "inner.py").write_text(SOURCE.format(name="Inner"))
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def loaded(*paths: str) -> tuple[str, ...]:
    registry = Registry()
    registry.load(paths)
    return registry.names()


def test_a_module_brings_the_workflows_defined_in_it(billing):
    assert loaded(f"{billing}.recovery") == ("recovery",)
    assert loaded(f"{billing}.digest") == ("digest",)


def test_a_package_brings_what_it_imports_from_below_itself(billing):
    assert loaded(f"{billing}.flows") == ("inner",)


def test_a_path_may_name_a_single_class(billing):
    assert loaded(f"{billing}.digest:Recovery") == ("recovery",)
    assert loaded(f"{billing}.digest.Digest") == ("digest",)


def test_the_same_workflow_may_be_listed_twice(billing):
    assert loaded(f"{billing}.digest", f"{billing}.digest:Digest") == ("digest",)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("{}.nothing", "has no workflow class 'nothing'"),
        ("nowhere_at_all", "no such module"),
        ("nowhere.at.all", "no such module"),
        ("{}.digest:Nothing", "has no workflow class 'Nothing'"),
        ("{}.nothing:Digest", "no such module"),
        ("{}.digest:complete", "has no workflow class 'complete'"),
        ("{}.digest:Workflow", "has no workflow class 'Workflow'"),
        ("{}.empty", "defines no workflow"),
        ("{}.broken", "not_installed_anywhere"),
        ("", "an import path is text"),
        (".relative", "no such module"),
        (5, "an import path is text"),
    ],
)
def test_a_wrong_path_is_named_with_the_reason(billing, path, said):
    path = path.format(billing) if isinstance(path, str) else path

    with pytest.raises(ConfigError) as caught:
        loaded(path)

    assert caught.value.invalid == {"SQUIDMESH_WORKFLOWS": path}
    assert said in caught.value.reasons["SQUIDMESH_WORKFLOWS"]


def test_all_wrong_paths_are_reported_and_right_ones_registered(billing):
    registry = Registry()

    with pytest.raises(ConfigError) as caught:
        registry.load(["nowhere_at_all", f"{billing}.digest", f"{billing}.empty"])

    assert caught.value.invalid == {"SQUIDMESH_WORKFLOWS": ["nowhere_at_all", f"{billing}.empty"]}
    assert registry.names() == ("digest",)


def test_a_definition_error_in_a_module_is_seen_as_it_is(billing):
    with pytest.raises(WorkflowDefinitionError):
        loaded(f"{billing}.wrong")


def test_two_classes_of_one_name_are_refused():
    registry = Registry()
    first = declare("one")
    registry.register(first)
    registry.register(first)

    with pytest.raises(WorkflowDefinitionError) as caught:
        registry.register(declare("one"))

    assert [problem.code for problem in caught.value.problems] == ["duplicate_workflow_name"]
    assert registry.get("one") is first


@pytest.mark.parametrize("thing", [5, "one", int, Workflow, None])
def test_only_workflow_classes_are_registered(thing):
    with pytest.raises(TypeError, match="not a workflow"):
        Registry().register(thing)


def test_a_workflow_is_got_by_name_or_class():
    registry, one, stranger = Registry(), declare("one"), declare("one")
    registry.register(one)

    assert registry.get("one") is registry.get(one) is registry.find("one") is one
    assert registry.find("two") is None
    for unknown in ("two", stranger, declare("three"), 5, None, Workflow):
        with pytest.raises(UnknownWorkflow) as caught:
            registry.get(unknown)  # type: ignore[arg-type]  # the point
        assert caught.value.known == ("one",)

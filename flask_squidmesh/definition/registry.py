"""Which workflows an application knows, by name. One registry per application."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Final, TypeGuard

from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.exceptions import (
    ConfigError,
    Problem,
    UnknownWorkflow,
    WorkflowDefinitionError,
)

_KEY: Final = "SQUIDMESH_WORKFLOWS"


class Registry:
    """Workflow classes by name: its own, and those of a *shared* registry behind it."""

    def __init__(self, shared: Registry | None = None) -> None:
        self._classes: dict[str, type[Workflow]] = {}
        self._shared = shared

    def register(self, workflow: type[Workflow]) -> None:
        """Add a workflow class; adding the same class again changes nothing.

        Raises:
            TypeError: It is not a subclass of `Workflow`.
            WorkflowDefinitionError: Another class has the same name.
        """
        if not _is_workflow(workflow):
            raise TypeError(
                f"{workflow!r} is not a workflow; register a subclass of flask_squidmesh.Workflow"
            )
        known = self.find(workflow.name) or workflow
        if known is workflow:
            self._classes[workflow.name] = workflow
        else:
            message = (
                f"{_place(known)} and {_place(workflow)} are both called {workflow.name!r}; "
                "set the attribute `name` of one of them"
            )
            problem = Problem(workflow.name, "duplicate_workflow_name", message)
            raise WorkflowDefinitionError(workflow.name, [problem])

    def find(self, name: str) -> type[Workflow] | None:
        """Return the workflow of this name, or None."""
        known = self._classes.get(name)
        if known is None and self._shared is not None:
            return self._shared.find(name)
        return known

    def get(self, workflow: str | type[Workflow]) -> type[Workflow]:
        """Return the registered workflow, given its name or the class itself.

        Raises:
            UnknownWorkflow: The name, or exactly this class, is not registered.
        """
        if isinstance(workflow, str):
            name, wanted = workflow, self.find(workflow)
        else:
            name = workflow.name if _is_workflow(workflow) else repr(workflow)
            wanted = workflow
        if wanted is None or self.find(name) is not wanted:
            raise UnknownWorkflow(name, self.names())
        return wanted

    def __len__(self) -> int:
        """Return how many classes were added; the number never falls."""
        return len(self._classes) + (0 if self._shared is None else len(self._shared))

    def names(self) -> tuple[str, ...]:
        """Return the registered names in alphabetical order."""
        shared = () if self._shared is None else self._shared.names()
        return tuple(sorted({*self._classes, *shared}))

    def load(self, import_paths: Iterable[str]) -> None:
        """Import and register the workflows of modules, or single classes.

        A path is `package.module` (the workflows defined in it, or below it and
        imported into it), `package.module:Class` or `package.module.Class`.

        Raises:
            ConfigError: Some paths can not be imported or hold no workflow.
            WorkflowDefinitionError: A workflow is wrong, or a name is taken.
        """
        faults: dict[str, str] = {}
        for path in import_paths:
            try:
                found = _workflows_at(path)
            except ImportError as error:
                faults[path] = f"{path}: {error}"
                continue
            for workflow in found:
                self.register(workflow)
        if faults:
            offending: object = list(faults) if len(faults) > 1 else next(iter(faults))
            raise ConfigError(invalid={_KEY: offending}, reasons={_KEY: "; ".join(faults.values())})


def _workflows_at(path: object) -> list[type[Workflow]]:
    if not isinstance(path, str) or not path.strip(".:"):
        raise ImportError("an import path is text such as 'billing.workflows'")
    module_path, colon, class_name = path.partition(":")
    module = _find_module(module_path)
    if module is None and not colon:
        module_path, _, class_name = path.rpartition(".")
        module = _find_module(module_path)
    if module is None:
        raise ImportError("no such module; check the spelling and that it can be imported")
    if not class_name:
        found = _workflows_in(module)
        if not found:
            raise ImportError("the module defines no workflow; list the one that does")
        return found
    workflow = getattr(module, class_name, None)
    if not _is_workflow(workflow):
        raise ImportError(f"{module_path} has no workflow class {class_name!r}")
    return [workflow]


def _find_module(path: str) -> ModuleType | None:
    """Return the module, or None when there is none; errors inside it are its own."""
    try:
        return importlib.import_module(path) if path and not path.startswith(".") else None
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if path == missing or path.startswith(f"{missing}."):
            return None
        raise


def _workflows_in(module: ModuleType) -> list[type[Workflow]]:
    # Compared with a dot behind both, so that `billing` does not hold what is in `billing_old`.
    inside = f"{module.__name__}."
    found = [
        value
        for value in vars(module).values()
        if _is_workflow(value) and f"{value.__module__}.".startswith(inside)
    ]
    return list(dict.fromkeys(found))


def _is_workflow(value: object) -> TypeGuard[type[Workflow]]:
    return isinstance(value, type) and issubclass(value, Workflow) and value is not Workflow


def _place(workflow: type[Workflow]) -> str:
    return f"{workflow.__module__}.{workflow.__qualname__}"

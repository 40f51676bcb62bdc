"""What a step sees, and how its function's parameters are filled from that.

Paths and parameters are worked out from stored data, so whatever is absent is
a `MissingInput` that names the place; the step then fails without running.
"""

from __future__ import annotations

import inspect
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from flask_squidmesh.definition.spec import StepSpec
from flask_squidmesh.exceptions import SquidMeshError

if sys.version_info >= (3, 14):
    import annotationlib

CONTEXT: Final = "context"
"""The parameter that receives the `StepContext`, whatever the data holds."""


class MissingInput(SquidMeshError):
    """Something a step needs is not in the data it sees.

    `target` is the key or parameter to be filled, `path` where it was looked
    for, and `segment` the part of the path that was not found.
    """

    def __init__(self, target: str, path: str, segment: str, reason: str) -> None:
        self.target = target
        self.path = path
        self.segment = segment
        self.reason = reason
        super().__init__(target, path, segment, reason)

    def message(self) -> str:
        where = "" if self.target == self.path else f" (path {self.path!r})"
        return (
            f"input {self.target!r}{where} is missing: {self.segment!r} {self.reason}; "
            "provide it in the payload or as the output of an earlier step"
        )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a step function."""

    name: str
    required: bool
    positional: bool
    default: Any = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a step function takes, worked out once when its class is created.

    `everything` is whether it has a `**inputs`.
    """

    declared: tuple[Parameter, ...]
    everything: bool


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Return what *function* takes, without evaluating its annotations.

    Raises:
        TypeError, ValueError: The signature can not be inspected.
    """
    declared = []
    everything = False
    for parameter in _signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            everything = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            declared.append(
                Parameter(
                    name=parameter.name,
                    required=parameter.default is parameter.empty,
                    positional=parameter.kind is parameter.POSITIONAL_ONLY,
                    default=None if parameter.default is parameter.empty else parameter.default,
                )
            )
    return Parameters(tuple(declared), everything)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    # Since Python 3.14 annotations are evaluated when asked for, and those of a step function
    # may name what only a type checker imports.
    if sys.version_info >= (3, 14):
        return inspect.signature(function, annotation_format=annotationlib.Format.STRING)
    return inspect.signature(function)


def visible(payload: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload overlaid with the context."""
    return {**payload, **context}


def overlay(payload: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a view of the same, to look some of it up: no copy, however much there is."""
    return ChainMap(cast("dict[str, Any]", context), cast("dict[str, Any]", payload))


def select(step: StepSpec, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what *step* sees of *state*: *state* itself, some keys, or new names from paths.

    Raises:
        MissingInput: A key or a segment of a path is absent.
    """
    if step.input is None:
        return state
    if isinstance(step.input, Mapping):
        return {target: _follow(target, path, state) for target, path in step.input.items()}
    for key in step.input:
        if key not in state:
            raise MissingInput(key, key, key, "is absent")
    return {key: state[key] for key in step.input}


def _follow(target: str, path: str, state: Mapping[str, Any]) -> Any:
    value: Any = state
    for segment in path.split("."):
        if isinstance(value, Mapping):
            if segment not in value:
                raise MissingInput(target, path, segment, "is absent")
            value = value[segment]
        elif isinstance(value, (list, tuple)):
            if not (segment.isascii() and segment.isdigit()):
                raise MissingInput(target, path, segment, "is not an index, but a list was found")
            if int(segment) >= len(value):
                raise MissingInput(target, path, segment, "is beyond the end of the list")
            value = value[int(segment)]
        else:
            found = "null" if value is None else type(value).__name__
            raise MissingInput(target, path, segment, f"was looked for in a value of type {found}")
    return value


def bind(
    parameters: Parameters, inputs: Mapping[str, Any], context: object
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments to call a step function with: `function(*args, **kwargs)`.

    Raises:
        MissingInput: A required parameter has no value.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for parameter in parameters.declared:
        name = parameter.name
        if name == CONTEXT:
            value = context
        elif name in inputs:
            value = inputs[name]
        elif parameter.required:
            raise MissingInput(name, name, name, "is a required parameter and absent")
        elif parameter.positional:
            value = parameter.default
        else:
            continue
        if parameter.positional:
            args.append(value)
        else:
            kwargs[name] = value
    if parameters.everything:
        filled = {parameter.name for parameter in parameters.declared}
        kwargs.update({key: value for key, value in inputs.items() if key not in filled})
    return args, kwargs

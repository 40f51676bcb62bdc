"""Payload contracts: marshmallow schemas, one per trigger.

A payload is loaded once, when a run is created, and what is stored is the
loaded data as a JSON document: defaults filled in, keyed by attribute names.
Keys the schema does not know are refused whatever the schema itself says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, fields, missing
from marshmallow.exceptions import RegistryError

from flask_squidmesh.definition import documents
from flask_squidmesh.definition.code import WorkflowCode
from flask_squidmesh.exceptions import PayloadError, UnknownTrigger

_WHOLE: Final = "_schema"
"""Where marshmallow reports what concerns no single field."""

# What fields of marshmallow, and those written like them, raise for a value they can not handle.
_REFUSALS: Final = (
    ValidationError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    LookupError,
)


def load_payload(code: WorkflowCode, trigger: str, payload: object) -> dict[str, Any]:
    """Return *payload* as the trigger's contract has it, as plain JSON data.

    None stands for an empty payload. `load_default` callables are evaluated
    here, so call it once per run.

    Raises:
        UnknownTrigger: The workflow has no such trigger.
        PayloadError: The payload breaks the contract, or is not JSON.
    """
    schema = code.payload_schemas.get(trigger)
    if schema is None:
        raise UnknownTrigger(code.definition.name, trigger, tuple(code.payload_schemas))
    given = {} if payload is None else payload
    if not isinstance(given, Mapping):
        raise PayloadError({_WHOLE: [f"Must be a mapping, not {type(given).__name__}."]})
    try:
        loaded = schema.load(given, unknown=RAISE)
    except ValidationError as error:
        messages = error.messages
        raise PayloadError(messages if isinstance(messages, dict) else {_WHOLE: messages}) from None
    try:
        document = documents.decode(documents.encode(loaded, what="payload"))
    except documents.DocumentError as error:
        field = error.path.split(".")[0].split("[")[0]
        raise PayloadError({field or _WHOLE: [f"{error}."]}) from None
    if not isinstance(document, dict):
        raise PayloadError({_WHOLE: ["The schema must load a mapping or a dataclass."]})
    return document


def field_types(schema: Schema) -> dict[str, str]:
    """Return the name each payload field has for the steps, with its type in words."""
    return {
        field.attribute or name: _type_name(field) for name, field in schema.load_fields.items()
    }


def required_fields(schema: Schema) -> Iterator[str]:
    """Yield the fields without which the schema refuses a payload."""
    for name, field in schema.load_fields.items():
        if field.required:
            yield name


def refused_defaults(schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield fields with a default they would not accept themselves, and why.

    marshmallow uses a default as it stands, so a wrong one would only be seen
    inside a step. Callables are left alone: they may do anything.
    """
    for name, field in schema.load_fields.items():
        default = field.load_default
        if default is missing or callable(default):
            continue
        reason = _refusal(field, name, default)
        if reason is not None:
            yield name, reason


def _refusal(field: fields.Field[Any], name: str, default: object) -> str | None:
    # A default is written either as the payload would have it or as the value the field loads,
    # such as a datetime; it is right when the field accepts it in one of the two ways.
    try:
        field.deserialize(default)
    except RegistryError:
        return None  # a nested schema named by text, which may be imported later
    except _REFUSALS as error:
        reason = _said(error)
        if not _survives(field, name, default):
            return reason
    try:
        documents.encode(default, what="default")
    except documents.DocumentError as error:
        return str(error)
    return None


def _survives(field: fields.Field[Any], name: str, default: object) -> bool:
    try:
        again = field.deserialize(field.serialize(name, {field.attribute or name: default}))
    except _REFUSALS:
        return False
    return type(again) is type(default)


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        messages = error.messages
        return " ".join(messages) if isinstance(messages, list) else str(messages)
    return str(error) or type(error).__name__


def _type_name(field: fields.Field[Any]) -> str:
    kind = type(field)
    if kind.__module__ == fields.__name__:
        name = kind.__name__
    else:
        name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(field, fields.List):
        return f"{name}({_type_name(field.inner)})"
    if isinstance(field, fields.Enum):
        return f"{name}({field.enum.__name__})"
    if isinstance(field, fields.Nested):
        many = ", many" if field.many else ""
        return f"{name}({_nested_name(field.nested)}{many})"
    return name


def _nested_name(nested: object) -> str:
    # Not resolved: the name of a schema may stand for a class that is imported later.
    if isinstance(nested, str):
        return nested.rpartition(".")[2]
    kind = nested if isinstance(nested, type) else type(nested)
    return kind.__name__

"""The rules about triggers: their payload contracts and their clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, get_args

from marshmallow import Schema
from marshmallow.fields import Field

from flask_squidmesh.definition import cron, payload
from flask_squidmesh.definition.declarations import CatchUp
from flask_squidmesh.definition.draft import Broken, Draft
from flask_squidmesh.definition.findings import MAX_NAME, Finding

_CATCH_UP: Final = get_args(CatchUp)


def _fields(draft: Draft) -> Iterator[Finding]:
    for name, trigger in draft.triggers.items():
        for key, value in trigger.fields.items():
            if not isinstance(value, Field):
                yield Finding(
                    name,
                    key,
                    "invalid_field",
                    f"payload field {key!r} of trigger {name!r} is no marshmallow field; "
                    "use one such as fields.String(), with its brackets",
                )
        if trigger.schema is not None and trigger.fields:
            yield Finding(
                name,
                "schema",
                "fields_beside_schema",
                f"trigger {name!r} has a schema and fields; put the fields into the schema",
            )


def _schemas(draft: Draft) -> Iterator[Finding]:
    for name, schema in draft.payload_schemas.items():
        if isinstance(schema, Broken):
            fault = schema.reason
        elif schema.many:
            fault = "it is for many objects, and a payload is one"
        else:
            continue
        yield Finding(
            name,
            "schema",
            "invalid_schema",
            f"schema of trigger {name!r}: {fault}; pass a marshmallow Schema",
        )


def _clocks(draft: Draft) -> Iterator[Finding]:
    for name, trigger in draft.triggers.items():
        if trigger.kind != "cron":
            continue
        # Apart, so that a bad expression and a bad zone are both reported.
        expression = trigger.expression if isinstance(trigger.expression, str) else ""
        zone = trigger.timezone if isinstance(trigger.timezone, str) else ""
        for given, code in (
            ((expression, "UTC"), "invalid_cron"),
            (("@daily", zone), "unknown_timezone"),
        ):
            try:
                cron.parse(*given)
            except cron.CronError as error:
                yield Finding(name, error.part, code, f"cron trigger {name!r}: {error}")
        if len(expression) > MAX_NAME:
            yield Finding(
                name,
                "expression",
                "invalid_cron",
                f"cron trigger {name!r}: the expression is longer than {MAX_NAME} characters; "
                "use ranges and steps instead of lists, or two triggers",
            )
        if not (isinstance(trigger.catch_up, str) and trigger.catch_up in _CATCH_UP):
            yield Finding(
                name,
                "catch_up",
                "invalid_catch_up",
                f"catch_up of cron trigger {name!r} is one of {', '.join(_CATCH_UP)}",
            )


def _required_fields(draft: Draft) -> Iterator[Finding]:
    for name, schema in _usable(draft):
        if draft.triggers[name].kind != "cron":
            continue
        for field in payload.required_fields(schema):
            yield Finding(
                name,
                field,
                "required_without_default",
                f"payload field {field!r} of cron trigger {name!r} is required, but nobody is "
                "there to provide it; replace required=True by a load_default",
            )


def _defaults(draft: Draft) -> Iterator[Finding]:
    for name, schema in _usable(draft):
        for field, reason in payload.refused_defaults(schema):
            yield Finding(
                name,
                field,
                "refused_default",
                f"the default of payload field {field!r} of trigger {name!r} is refused by the "
                f"field itself ({reason}); correct the load_default or the field",
            )


def _shared_fields(draft: Draft) -> Iterator[Finding]:
    first: dict[str, tuple[str, str]] = {}
    for name, schema in _usable(draft):
        for field, kind in payload.field_types(schema).items():
            other, known = first.setdefault(field, (name, kind))
            if kind != known:
                yield Finding(
                    name,
                    field,
                    "conflicting_field",
                    f"payload field {field!r} is {kind} in trigger {name!r} and {known} in "
                    f"trigger {other!r}; steps see both, so use one type or two names",
                )


def _usable(draft: Draft) -> Iterator[tuple[str, Schema]]:
    for name, schema in draft.payload_schemas.items():
        if isinstance(schema, Schema):
            yield name, schema


RULES: Final[tuple[Callable[[Draft], Iterator[Finding]], ...]] = (
    _fields,
    _schemas,
    _clocks,
    _required_fields,
    _defaults,
    _shared_fields,
)

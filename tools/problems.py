"""One example of every mistake a workflow class can be refused for.

By code, the class body as a user would write it; `docs/authoring.md` shows
each with what is said about it. A body may have other problems besides.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import marshmallow

import flask_squidmesh
from flask_squidmesh import SquidMesh, WorkflowDefinitionError
from flask_squidmesh.exceptions import Problem

EXAMPLES: Final = {
    "no_trigger": "load = step(f)",
    "no_step": "start = manual()",
    "invalid_name": 'name = "billing/recovery"',
    "invalid_version": "version = 3",
    "reserved_name": "complete = step(f)",
    "name_bound_twice": "load = step(f); load = step(g)",
    "declared_twice": "load = step(f); check = load",
    "invalid_function": "load = step(42)",
    "invalid_schema": "load = step(f, input_schema=dict)",
    "invalid_input": 'load = step(f, input={"account": "invoice..id"})',
    "invalid_output": "load = step(f, output=1)",
    "invalid_option": 'load = step(f, transaction="no")',
    "invalid_retry": "load = step(f, retry=3)",
    "invalid_max_attempts": "load = step(f, retry=Retry(max_attempts=0))",
    "invalid_backoff": "load = step(f, retry=Retry(3, exponential(minimum=5, maximum=1)))",
    "invalid_wait": "settle = wait(seconds=0)",
    "invalid_message": 'announce = log("")',
    "unknown_level": 'announce = log("Loaded", level="loud")',
    "invalid_field": "start = manual(order=fields.String)",
    "fields_beside_schema": "start = manual(schema=Order, note=fields.String())",
    "invalid_cron": 'daily = cron("0 25 * * *")',
    "unknown_timezone": 'daily = cron("@daily", timezone="Paris")',
    "invalid_catch_up": 'daily = cron("@daily", catch_up="last")',
    "required_without_default": 'daily = cron("@daily", region=fields.String(required=True))',
    "refused_default": 'start = manual(amount=fields.Integer(load_default="many"))',
    "conflicting_field": (
        "start = manual(id=fields.Integer()); again = manual(id=fields.String())"
    ),
    "invalid_transitions": "load = step(f); transitions = load >> complete",
    "invalid_transition": "load = step(f); transitions = [load]",
    "unknown_source": "load = step(f); transitions = [complete >> load]",
    "unknown_target": "load = step(f); transitions = [load >> elsewhere]",
    "unknown_outcome": 'load = step(f); transitions = [transition(load, on="done", to=complete)]',
    "duplicate_route": (
        "a = step(f); b = step(g); transitions = [a >> b >> complete, a >> complete]"
    ),
    "no_ok_route": "load = step(f)",
    "approval_routes": "decide = approval(); transitions = [decide >> complete]",
    "entry_step": ("a = step(f); b = step(g); transitions = [a >> complete, b >> complete]"),
    "unreachable_step": ("a = step(f); b = step(g); transitions = [a >> complete, b >> b]"),
    "mixed_modes": "a = step(f); b = step(g, after=[a]); transitions = [a >> complete]",
    "invalid_after": "load = step(f, after=[])",
    "unknown_dependency": 'a = step(f); b = step(g, after=["c"])',
    "self_dependency": 'load = step(f, after=["load"])',
    "dependency_cycle": 'a = step(f, after=["b"]); b = step(g, after=[a])',
    "pause_in_dependencies": "a = step(f); hold = pause(after=[a])",
    "approval_in_dependencies": "a = step(f); decide = approval(after=[a])",
    "duplicate_workflow_name": (
        "start = manual(); load = step(f); transitions = [load >> complete]"
    ),
}


def find_problem(code: str, body: str) -> Problem:
    """Return the problem with this code that a class with this *body* has.

    Raises:
        LookupError: It has none.
    """
    try:
        _register(body)
    except WorkflowDefinitionError as error:
        for problem in error.problems:
            if problem.code == code:
                return problem
    raise LookupError(f"a class with the body {body!r} has no problem {code!r}")


def _register(body: str) -> None:
    """Create the class twice and register both."""
    names: dict[str, Any] = {
        **{name: getattr(flask_squidmesh, name) for name in flask_squidmesh.__all__},
        "fields": marshmallow.fields,
        "timedelta": timedelta,
        "Order": marshmallow.Schema.from_dict({"order": marshmallow.fields.String()}),
        "f": _f,
        "g": _g,
        "elsewhere": flask_squidmesh.step(_f),
    }
    squidmesh = SquidMesh()
    for module in ("billing.workflows", "reports.workflows"):
        exec(f"class Example(Workflow):\n    {body}\n", names)  # noqa: S102  # the texts above
        names["Example"].__module__ = module
        squidmesh.register(names["Example"])


def _f() -> None: ...


def _g() -> None: ...

"""`flask squidmesh check`: the doctor. Looks at everything, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from flask_squidmesh.cli.arguments import json_flag
from flask_squidmesh.cli.doctor_celery import about_broker, about_celery
from flask_squidmesh.cli.doctor_storage import (
    about_clock,
    about_sqlite,
    about_tables,
    about_transactions,
    about_work,
)
from flask_squidmesh.cli.findings import Finding, ok, problem, skipped, warning
from flask_squidmesh.cli.output import coloured, print_json, say
from flask_squidmesh.config import PREFIX, known_keys
from flask_squidmesh.current import AppState, Broker, state
from flask_squidmesh.definition.workflow import Workflow
from flask_squidmesh.engine.survey import Failure, said_by
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.operations import config, is_authority_there


@click.command("check")
@json_flag
def check(*, as_json: bool) -> None:
    """Look for mistakes in the set-up, and say what to do about each.

    Looks at the settings, the database and its tables, the broker and its
    workers, the workflows, and the work that waits. Exits with 1 when there is
    a problem; warnings alone are no reason to.

    \b
    Examples:
      flask squidmesh check
      flask squidmesh check --json
    """  # noqa: D301 - click takes the backspace for "keep these lines"
    current = state()
    findings = list(examine(current))
    is_well = all(finding.status != "problem" for finding in findings)
    if as_json:
        print_json(
            {
                "ok": is_well,
                "settings": asdict(current.settings),
                "findings": [finding.to_dict() for finding in findings],
            }
        )
    else:
        for finding in findings:
            _print(finding)
    if not is_well:
        click.get_current_context().exit(1)


def _print(finding: Finding) -> None:
    word = coloured(finding.status) + " " * (len("problem") - len(finding.status))
    first, *rest = finding.message.splitlines()
    say(f"{word}  {finding.check}: {first}")
    for line in rest:
        say(f"         {line}")
    if finding.remedy:
        say(f"         -> {finding.remedy}")


def examine(state: AppState) -> Iterator[Finding]:
    """Yield a finding for everything that was looked at, in the order it depends on."""
    try:
        config()
        yield ok("configuration", "\n".join(["all settings are valid", *_settings(state)]))
    except ConfigError as error:
        yield problem("configuration", str(error), "provide what is missing, as it says")
    yield from _about_http(state)
    yield from _about_workflows(state)
    broker = _broker(state)
    if broker is None:
        yield skipped("broker", _why_no_broker(state))
    else:
        yield from about_broker(broker, state.settings.queue)
        yield from about_celery(broker.configuration)
    yield from _about_database(state, broker)


def _settings(state: AppState) -> Iterator[str]:
    values = asdict(state.settings)
    for key in known_keys():
        yield f"{key} = {values[key.removeprefix(PREFIX).lower()]!r}"


def _broker(state: AppState) -> Broker | None:
    if state.settings.dispatch == "manual" or state.find_celery() is None:
        return None
    return state.look_at_broker()


def _why_no_broker(state: AppState) -> str:
    if state.settings.dispatch == "manual":
        return 'SQUIDMESH_DISPATCH is "manual": no message is sent'
    return "there is no Celery app to ask"


def _about_database(state: AppState, broker: Broker | None) -> Iterator[Finding]:
    if "db" in state.missing():
        yield skipped("database", "there is none to look at")
        return
    try:
        storage = state.engine().look_at_storage()
        yield ok("database", f"{storage.address} answers")
        yield from about_transactions(state, storage)
        yield from about_sqlite(state, storage)
        yield from about_clock(storage)
        yield from about_tables(state, storage)
        if not storage.missing_tables and not storage.missing_columns:
            yield from about_work(state, state.engine().look_at_work(), broker)
    except Failure as failure:
        yield problem(
            "database",
            f"it can not be reached, or refuses: {said_by(failure)}",
            "check SQLALCHEMY_DATABASE_URI, and whether the server runs and lets you in",
        )


def _about_http(state: AppState) -> Iterator[Finding]:
    settings = state.settings
    if not (settings.blueprint or settings.dashboard):
        return
    if is_authority_there():
        yield ok("http", f"mounted at {settings.url_prefix}, a callback decides who may do what")
        return
    yield warning(
        "http",
        f"everything under {settings.url_prefix} answers 403: nobody decides who may do what",
        "register a callback with @squidmesh.authorize; it gets the action and the run, and "
        "returns who acts, or None to refuse",
    )


def _about_workflows(state: AppState) -> Iterator[Finding]:
    names = state.registry.names()
    if names:
        yield ok("workflows", f"{len(names)} registered: {', '.join(names)}")
    else:
        yield warning(
            "workflows",
            "none is registered",
            "list the modules that define them in SQUIDMESH_WORKFLOWS, or call "
            "squidmesh.register with their classes",
        )
    for workflow in _imported(Workflow):
        if state.registry.find(workflow.name) is not workflow:
            place = f"{workflow.__module__}.{workflow.__qualname__}"
            yield warning(
                "workflows",
                f"{place} was imported, but is not registered",
                f"add {workflow.__module__!r} to SQUIDMESH_WORKFLOWS, if this application runs it",
            )


def _imported(base: type[Workflow]) -> Iterator[type[Workflow]]:
    """Yield the workflow classes this process knows."""
    for workflow in base.__subclasses__():
        yield workflow
        yield from _imported(workflow)

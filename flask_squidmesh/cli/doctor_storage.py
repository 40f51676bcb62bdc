"""The doctor's questions about the database, its tables, and the work in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from flask_squidmesh.cli.findings import Finding, ok, problem, skipped, warning
from flask_squidmesh.cli.install import missing_migrations
from flask_squidmesh.cli.output import cell
from flask_squidmesh.cli.words import since
from flask_squidmesh.current import AppState, Broker
from flask_squidmesh.engine.survey import Storage, Waiting, Work
from flask_squidmesh.exceptions import ConfigError

TOLERATED_SKEW: Final = timedelta(seconds=2)
UNTICKED_AFTER: Final = timedelta(seconds=30)
"""How long something may be due, besides ten rounds of the ticker."""

_UPGRADE: Final = "run 'flask squidmesh install' and 'flask db upgrade'"


def about_tables(state: AppState, storage: Storage) -> Iterator[Finding]:
    """Judge whether the tables are those of this release."""
    if storage.missing_tables:
        yield problem(
            "migrations",
            f"{len(storage.missing_tables)} tables are missing in {storage.address}: "
            f"{', '.join(storage.missing_tables)}",
            f"{_UPGRADE}; check that this is the database you mean",
        )
    elif storage.missing_columns:
        yield problem(
            "migrations",
            f"the tables are those of an older release, without "
            f"{', '.join(storage.missing_columns)}",
            _UPGRADE,
        )
    else:
        yield ok("migrations", "all tables are there")
    yield from _about_revisions(state)


def _about_revisions(state: AppState) -> Iterator[Finding]:
    if "migrate" not in state.app.extensions:
        yield skipped("migrations", "Flask-Migrate is not in use; whoever creates the tables knows")
        return
    try:
        missing = missing_migrations(state.app)
    except ConfigError as error:
        yield warning("migrations", str(error), "look at the migrations where the source tree is")
        return
    if missing:
        yield warning(
            "migrations",
            f"this application's migrations do not have {', '.join(missing)} yet",
            "run 'flask squidmesh install', and commit the new files",
        )
    else:
        yield ok("migrations", "this application's migrations have all revisions of the library")


def about_clock(storage: Storage) -> Iterator[Finding]:
    """Judge this host's clock by the database's, which leases and timers follow."""
    if storage.ahead is None:
        return
    seconds = storage.ahead.total_seconds()
    if abs(storage.ahead) <= TOLERATED_SKEW:
        yield ok("clock", f"this host and the database agree within {abs(seconds):.1f} s")
        return
    direction = "ahead of" if seconds > 0 else "behind"
    yield problem(
        "clock",
        f"this host's clock is {abs(seconds):.1f} s {direction} the database's",
        "have both synchronised (NTP); leases, timers and cron follow the database's clock, "
        "logs and messages this host's",
    )


def about_transactions(state: AppState, storage: Storage) -> Iterator[Finding]:
    """Judge whether a step's writes and its completion are one transaction."""
    configured = state.app.config.get("SQLALCHEMY_ENGINE_OPTIONS") or {}
    if storage.is_autocommit or configured.get("isolation_level") == "AUTOCOMMIT":
        yield problem(
            "transactions",
            "the engine of db.session is in AUTOCOMMIT: what a step writes is kept although the "
            "step fails or is executed again, and start_run(session=...) is not undone with the "
            "rest of a request",
            "take isolation_level='AUTOCOMMIT' out of SQLALCHEMY_ENGINE_OPTIONS; ask for it per "
            "connection where it is needed: "
            "db.engine.connect().execution_options(isolation_level='AUTOCOMMIT')",
        )


def about_sqlite(state: AppState, storage: Storage) -> Iterator[Finding]:
    """Judge whether an SQLite database can be shared as it is opened."""
    if storage.is_in_memory:
        report = problem if state.settings.dispatch == "celery" else warning
        yield report(
            "sqlite",
            "the database is in the memory of this process: no worker sees it, and it ends with it",
            "name a file, as in sqlite:///app.sqlite3, or a server in SQLALCHEMY_DATABASE_URI",
        )
    elif storage.journal_mode not in (None, "wal"):
        yield warning(
            "sqlite",
            f"the journal mode is {storage.journal_mode}: readers and the writer stop each other, "
            "and steps meet 'database is locked'",
            "call flask_squidmesh.sqlite.configure(db.engine) where the application is created",
        )


def about_work(state: AppState, work: Work, broker: Broker | None) -> Iterator[Finding]:
    """Judge whether what waits is waiting for a reason."""
    found = [
        *_about_unregistered(state, work),
        *_about_unavailable(state, work),
        *_about_untaken(state, work, broker),
        *_about_unticked(state, work),
    ]
    unfinished = sum(work.unfinished.values())
    yield from found or [ok("work", f"{unfinished} runs are unfinished, none is stuck")]


def _about_unregistered(state: AppState, work: Work) -> Iterator[Finding]:
    for workflow, count in work.unfinished.items():
        if state.registry.find(workflow) is None:
            yield problem(
                "work",
                f"{count} unfinished runs belong to workflow {cell(workflow)}, which is not "
                "registered here; they go on when its code is back",
                "list its module in SQUIDMESH_WORKFLOWS, deploy it again, or cancel them: "
                f"flask squidmesh runs --workflow {cell(workflow)}",
            )


def _about_unavailable(state: AppState, work: Work) -> Iterator[Finding]:
    for waiting in work.unavailable:
        # Those of workflows that are not registered were named before.
        if state.registry.find(waiting.workflow) is not None:
            yield problem(
                "work",
                f"{_steps(waiting, work.now)} wait for code: today's workflow has no such step",
                "deploy a workflow that has it until these runs are over, or cancel them: "
                f"flask squidmesh runs --workflow {cell(waiting.workflow)}",
            )


def _about_untaken(state: AppState, work: Work, broker: Broker | None) -> Iterator[Finding]:
    if not work.untaken or state.settings.dispatch == "manual":
        return
    queue = state.settings.queue
    is_heard = broker is not None and broker.consumers_of(queue)
    for waiting in work.untaken:
        steps = f"{_steps(waiting, work.now)} wait for a worker"
        if broker is not None and broker.listeners is not None and not is_heard:
            yield problem(
                "work",
                f"{steps}, and nobody listens on queue {queue}",
                "start one: flask squidmesh worker, or add the queue to yours: "
                f"celery ... worker -Q celery,{queue}",
            )
        else:
            yield warning(
                "work",
                f"{steps}, longer than usual",
                f"see whether the workers of queue {queue} run, and are not all busy or stuck; "
                "add workers, or concurrency",
            )


def _about_unticked(state: AppState, work: Work) -> Iterator[Finding]:
    patience = max(UNTICKED_AFTER, timedelta(seconds=10 * state.settings.tick_interval))
    if work.due_since is None or work.now - work.due_since <= patience:
        return
    yield problem(
        "ticker",
        f"nobody has looked at what is due since {cell(work.due_since)}: timers, retries and "
        "lost workers wait",
        "start a worker: flask squidmesh worker"
        if state.settings.ticker
        else "SQUIDMESH_TICKER is off: run 'flask squidmesh tick --forever', or the beat entry",
    )


def _steps(waiting: Waiting, now: datetime) -> str:
    return (
        f"{waiting.count} runs of {cell(waiting.workflow)} at step {cell(waiting.step)} "
        f"(for {since(waiting.since, now)})"
    )

"""`flask smoke`: does everything work, here and now?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import click
from flask.cli import ScriptInfo
from flask_migrate import upgrade

from flask_squidmesh.testing import freeze, run_until_idle, tick
from minimal_host_app import boundary
from minimal_host_app.commands.report import Case, Report
from minimal_host_app.commands.stack import (
    CREATE_APP,
    Stack,
    running_stack,
    who_works,
    working,
)
from minimal_host_app.commands.stories import STORIES
from minimal_host_app.extensions import close_database
from minimal_host_app.settings import NO_BROKER

# A Monday, a minute before nine in Paris.
ALMOST_NINE = datetime(2026, 11, 2, 7, 59, tzinfo=UTC)


@click.command("smoke")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Worker processes to start when there is a broker; 0: use those that run already.",
)
@click.option(
    "--timeout", default=60.0, show_default=True, help="Seconds a run may take to get somewhere."
)
@click.option("--json", "as_json", is_flag=True, help="Print a document for programs.")
@click.pass_obj
def smoke(script: ScriptInfo, *, workers: int, timeout: float, as_json: bool) -> None:
    """Play every workflow once, through the JSON interface, and check what comes of it.

    Without configuration this uses a temporary SQLite database and a worker in
    this process. HOST_APP_DATABASE_URL and HOST_APP_BROKER_URL choose others;
    accounts, invoices and runs are added to that database and stay there.

    Exits with 0 only if every check has passed.
    """
    report = Report("smoke", as_json=as_json)
    with running_stack(script, gateway_failures=1) as stack:
        report.uses(stack.describe(who_works(stack, workers=workers)))
        with working(stack, workers=workers):
            play_all(stack, report, timeout)
        report.add(digest_by_the_clock(stack))
        code = report.close(stack.logs())
    click.get_current_context().exit(code)


def play_all(stack: Stack, report: Report, timeout: float) -> None:
    with ThreadPoolExecutor(len(STORIES)) as pool:
        try:
            # All at the same time, so nobody looks too often.
            told = pool.map(lambda story: story.told(stack, timeout=timeout, interval=0.1), STORIES)
            for case in told:
                report.add(case)
        finally:
            stack.stopping.set()


def digest_by_the_clock(stack: Stack) -> Case:
    """See the cron trigger fire, without waiting for Monday.

    With the clock of a test, and so on a database that nobody else uses: what
    is due in the others must not be taken for overdue.
    """
    with Case("daily_digest", "the clock strikes nine on Monday, in Paris") as case:
        path = Path(stack.folder) / "clock.sqlite3"
        app = stack.app.extensions[CREATE_APP](
            {
                "DATABASE_URL": f"sqlite:///{path}",
                "BROKER_URL": NO_BROKER,
                "SQUIDMESH_DISPATCH": "manual",
            }
        )
        try:
            with app.app_context(), freeze(ALMOST_NINE) as clock:
                upgrade()
                case.expect("runs started at 8:59", tick().started, 0)
                clock.advance(seconds=60)
                case.did("moved the clock to 9:00")
                started = [tick().started, tick().started]
                case.expect("runs started by two tickers at 9:00", started, [1, 0])
                run_until_idle()
                (run,) = boundary.list_runs(workflow="daily_digest")
                case.expect("trigger", run.trigger, "every_working_day")
                case.expect("status of the run", run.status, "completed")
                case.expect("day of the digest", run.context["day"], "2026-11-02")
        finally:
            close_database(app)
    return case

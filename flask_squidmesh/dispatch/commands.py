"""`flask squidmesh worker | tick | dev`: processes that execute and recover work.

They start parts of this package, so they stand here and not in `cli`; the
extension puts them into the same group.
"""

from __future__ import annotations

import contextvars
import json
import signal
import threading
from collections.abc import Callable
from typing import Final, TypeVar

import click
from flask import Flask, current_app
from werkzeug.serving import make_server

from flask_squidmesh.current import state_of
from flask_squidmesh.dispatch.embedded import EmbeddedWorker
from flask_squidmesh.dispatch.threads import ticking
from flask_squidmesh.dispatch.ticker import tick as tick_once
from flask_squidmesh.dispatch.worker import run_worker, worker_arguments
from flask_squidmesh.exceptions import ConfigError
from flask_squidmesh.types import TickResult

_T = TypeVar("_T")


@click.command("worker", context_settings={"ignore_unknown_options": True})
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="Steps executed at a time.")
@click.option(
    "-P",
    "--pool",
    type=click.Choice(["prefork", "threads", "solo"]),
    help="How steps are executed side by side. Default: what the Celery app is configured for.",
)
@click.option("-l", "--loglevel", default="info", show_default=True, help="What is logged.")
@click.argument("celery_args", nargs=-1, type=click.UNPROCESSED)
def worker(
    concurrency: int | None, pool: str | None, loglevel: str, celery_args: tuple[str, ...]
) -> None:
    """Run a Celery worker on squidmesh's queue.

    Further CELERY_ARGS are passed on to `celery worker`; `-Q emails,squidmesh`
    serves other queues, too. For gevent or eventlet, start Celery itself:
    `celery -A ... worker -Q squidmesh -P gevent`.
    """
    app = _app()
    arguments = worker_arguments(
        state_of(app).settings,
        concurrency=concurrency,
        pool=pool,
        loglevel=loglevel,
        extra=celery_args,
    )
    try:
        code = _outside_context(lambda: run_worker(app, arguments))
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    click.get_current_context().exit(code)


@click.command("tick")
@click.option("--forever", is_flag=True, help="Go on, a round per SQUIDMESH_TICK_INTERVAL.")
@click.option("--json", "as_json", is_flag=True, help="Print a document for programs.")
def tick(*, forever: bool, as_json: bool) -> None:
    """Find what is due: timers, retries, lost workers, cron.

    Workers do this by themselves, unless SQUIDMESH_TICKER is off.
    """
    app = _app()
    if forever:
        _outside_context(lambda: _tick_until_told(app))
        return
    total, is_full = TickResult(), True
    while is_full:
        result, is_full = tick_once(app)
        total = TickResult(
            total.due + result.due, total.expired + result.expired, total.started + result.started
        )
    if as_json:
        click.echo(json.dumps(total.to_dict()))
    else:
        click.echo(
            f"rang {total.due} steps, found {total.expired} expired leases, "
            f"started {total.started} cron runs"
        )


@click.command("dev")
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-p", "--port", default=5000, show_default=True, help="Port; 0 takes a free one.")
@click.option("-c", "--concurrency", default=2, show_default=True, help="Steps at a time.")
def dev(host: str, port: int, concurrency: int) -> None:
    """Run the web server and a worker in this one process, for development.

    Messages go through memory: no broker is needed, and one that is
    configured is not used for squidmesh.
    """
    app = _app()
    _outside_context(lambda: _serve(app, host, port, concurrency))


def _serve(app: Flask, host: str, port: int, concurrency: int) -> None:
    with EmbeddedWorker(app, concurrency=concurrency):
        server = make_server(host, port, app, threaded=True)
        serving = threading.Thread(target=server.serve_forever, name="squidmesh-web", daemon=True)
        serving.start()
        shown = f"[{host}]" if ":" in host else host
        click.echo(
            f"Serving on http://{shown}:{server.server_port} with a worker in this process; "
            "press Ctrl+C to stop."
        )
        try:
            _wait_for_signal()
        finally:
            server.shutdown()
            serving.join()
            server.server_close()


def _tick_until_told(app: Flask) -> None:
    with ticking(app):
        _wait_for_signal()


def _wait_for_signal() -> None:
    """Return when this process is asked to end, by Ctrl+C or SIGTERM."""
    asked = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: asked.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        asked.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # Flask's documented way
    # Refused here and now when there is no database: the process could only complain.
    state_of(app).engine()
    return app


def _outside_context(work: Callable[[], _T]) -> _T:
    """Call *work* without the app context of this command.

    It would stay active as long as the process: host code that finds it would
    take it for the one of its own work, and keep one session for ever.
    """
    return contextvars.Context().run(work)


ALL: Final = (worker, tick, dev)
"""What the extension adds to `flask squidmesh`."""

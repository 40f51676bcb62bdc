"""The application as it is installed: migrations, seed, database, display."""

from __future__ import annotations

import io

import pytest
from flask_migrate import check
from sqlalchemy import select, text

from minimal_host_app.extensions import db
from minimal_host_app.models import Account
from minimal_host_app.narration import Display


def flask(app, *arguments):
    return app.test_cli_runner().invoke(args=arguments)


def test_migrations_lead_to_the_models(app):
    with app.app_context():
        check()


def test_no_migration_of_the_library_is_missing(app):
    result = flask(app, "squidmesh", "install", "--check")
    assert (result.exit_code, result.output) == (0, "No migration is missing.\n")


def test_seed_adds_nothing_twice(app):
    assert flask(app, "seed").output == "0 accounts added\n"
    with app.app_context():
        assert set(db.session.scalars(select(Account.id))) == {"ada", "grace"}


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("busy_timeout", 10000), ("foreign_keys", 1), ("synchronous", 1)],
)
def test_sqlite_is_set_up_for_threads(app, pragma, value):
    with app.app_context():
        assert db.session.scalar(text(f"PRAGMA {pragma}")) == value


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream):
    display = Display(stream)
    display.now("running")
    display.line("done", "good")
    return stream.getvalue()


def test_terminal_shows_progress_in_place_and_in_colour(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert shown(Terminal()) == "\r\x1b[2Krunning\r\x1b[2K\x1b[32mdone\x1b[0m\n"


def test_terminal_without_colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(Terminal()) == "\r\x1b[2Krunning\r\x1b[2Kdone\n"


def test_anything_else_gets_plain_lines():
    assert shown(io.StringIO()) == "done\n"

"""What a `flask` command says when the application can not even be created.

Flask shows a traceback for whatever a factory raises, unless click knows the
exception. An operator who mistyped a setting needs the sentence in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click
from flask.cli import ScriptInfo

from flask_squidmesh.cli.output import printable
from flask_squidmesh.exceptions import ConfigError


class _Shown(click.ClickException):
    """What click shows as the text of the error, and ends with exit code 1."""

    def __init__(self, *facts: object) -> None:
        # Not click's own, which would put a text over the method `message` of our errors.
        Exception.__init__(self, *facts)

    def format_message(self) -> str:
        """Return the text, safe for a terminal."""
        return "\n".join(map(printable, str(self).splitlines()))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the text; to the error stream, unless told otherwise."""
        click.echo(f"Error: {self.format_message()}", file=file, err=file is None)


class ConfigRefusal(ConfigError, _Shown):  # type: ignore[misc]  # `message`: see above
    """A `ConfigError` like any other, which ends a command with its text."""


@contextmanager
def told_to_operators() -> Iterator[None]:
    """Raise a `ConfigError` so that the `flask` command loading the application prints its text.

    Everywhere else, in a web server, a Celery worker or a test, it is raised as it is.
    """
    try:
        yield
    except ConfigError as error:
        context = click.get_current_context(silent=True)
        if context is None or context.find_object(ScriptInfo) is None:
            raise
        raise ConfigRefusal(*error.args) from None

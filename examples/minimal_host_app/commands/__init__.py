"""The application's own commands."""

from __future__ import annotations

from flask import Flask

from minimal_host_app.commands.resilience import resilience
from minimal_host_app.commands.seed import seed
from minimal_host_app.commands.smoke import smoke
from minimal_host_app.commands.soak import soak
from minimal_host_app.commands.stack import CREATE_APP, CreateApp


def init_app(app: Flask, create_app: CreateApp) -> None:
    """Add the commands; some make an application of their own with *create_app*."""
    app.extensions[CREATE_APP] = create_app
    for command in (seed, smoke, resilience, soak):
        app.cli.add_command(command)

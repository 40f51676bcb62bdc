"""`flask seed`."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from minimal_host_app import accounts


@click.command("seed")
@with_appcontext
def seed() -> None:
    """Add two accounts with an invoice each; a repeat adds nothing."""
    click.echo(f"{accounts.add_seed()} accounts added")

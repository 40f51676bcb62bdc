"""Commands of the application itself."""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import with_appcontext

from minimal_host_app.extensions import db
from minimal_host_app.models import Account, Invoice


def init_app(app: Flask) -> None:
    app.cli.add_command(seed)


@click.command("seed")
@with_appcontext
def seed() -> None:
    """Add two accounts with an invoice each; a repeat adds nothing."""
    click.echo(f"{add_seed()} accounts added")


def add_seed() -> int:
    """Add what is missing of the seed; return how many accounts that were."""
    # The gateway declines Grace's card.
    emails = {"ada": "ada@example.org", "grace": "grace@example.org"}
    missing = [name for name in emails if db.session.get(Account, name) is None]
    for name in missing:
        db.session.add(Account(id=name, email=emails[name]))
        # Without relationships between the models, the order is ours to keep.
        db.session.flush()
        db.session.add(Invoice(id=f"invoice-{name}", account_id=name, amount=4200))
    db.session.commit()
    return len(missing)

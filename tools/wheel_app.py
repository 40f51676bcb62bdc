"""The application with which `tools.check_wheel` tries the installed wheel; copied there."""

from __future__ import annotations

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_squidmesh import Run, SquidMesh, Workflow, complete, manual, sqlite, step, wait


class Base(DeclarativeBase):
    """What the models of the application derive from."""


class Refund(Base):
    """A row that a step writes."""

    __tablename__ = "refunds"

    order: Mapped[str] = mapped_column(primary_key=True)


db, migrate, squidmesh = SQLAlchemy(model_class=Base), Migrate(), SquidMesh()


def pay_out(order: str) -> dict[str, str]:
    """Write a refund, and say so."""
    db.session.add(Refund(order=order))
    return {"letter": f"{order} is paid."}


@squidmesh.register
class RefundOrder(Workflow):
    """Pay out, a moment later."""

    refund = manual(order=fields.String(required=True))
    think = wait(seconds=0.5)
    pay_out = step(pay_out)
    transitions = [think >> pay_out >> complete]


@squidmesh.authorize
def let_everybody_in(action: str, _run: Run | None) -> str:
    """Return who acts."""
    return f"somebody who wants {action}"


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite:///refunds.db", SQUIDMESH_BLUEPRINT=True)
    db.init_app(app)
    migrate.init_app(app, db)
    squidmesh.init_app(app)
    with app.app_context():
        sqlite.configure(db.engine)
    return app

"""The extension objects, bound to an application by its factory."""

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_squidmesh import SquidMesh


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
migrate = Migrate()
squidmesh = SquidMesh()


def close_database(app: Flask) -> None:
    """Close all connections: for programs that end an application before they end themselves."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()

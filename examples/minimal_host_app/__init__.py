"""A small billing application that uses flask_squidmesh."""

from minimal_host_app.factory import create_app

__all__ = ["create_app"]

"""The commands of `flask squidmesh`.

Commands translate and print; what they do is done by the layers below. Each is
a plain click command in a module of this package and is added to the group
here; Flask has pushed the application's context when one runs.
"""

from __future__ import annotations

from flask.cli import AppGroup

from flask_squidmesh.cli import install

squidmesh_cli = AppGroup("squidmesh", help="Durable workflows: run, inspect and decide.")

squidmesh_cli.add_command(install.install)

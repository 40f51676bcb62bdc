"""The commands of `flask squidmesh`.

Commands translate and print; what they do is done by the layers below. Each is
a plain click command in a module of this package, and is put into the group
here. `worker`, `tick` and `dev` start parts of `dispatch`, stand there, and are
added by the extension.
"""

from __future__ import annotations

from typing import Final

from flask_squidmesh.cli import check, decide, install, runs, start, watch, workflows
from flask_squidmesh.cli.group import SquidmeshGroup

squidmesh_cli: Final = SquidmeshGroup(
    "squidmesh", help="Durable workflows: set up, run, inspect and decide."
)

for _command in (
    install.install,
    check.check,
    *workflows.ALL,
    start.start,
    *runs.ALL,
    *decide.ALL,
    watch.watch,
):
    squidmesh_cli.add_command(_command)

"""Keeps the context of a long run when it is over, so that lists need not read all its outputs.

Not part of the run's end: a process that dies in between costs those who read
the run a little time, and nothing else. What is kept never changes, since
nothing is added to the context of a run that is over.
"""

from __future__ import annotations

from typing import Final

from flask_squidmesh.definition import documents
from flask_squidmesh.engine.memory import Held, assemble_context
from flask_squidmesh.engine.news import News
from flask_squidmesh.engine.runtime import Runtime
from flask_squidmesh.lifecycle.facts import ENDED
from flask_squidmesh.store import contexts, history, transaction

LONG: Final = 100
"""From how many attempts, or declared steps, on the outputs take longer to read than a document."""


def is_long(held: Held) -> bool:
    """Return whether the context of the run is kept when it is over."""
    return held.memory.ordinal >= LONG or len(held.definition.steps) >= LONG


def keep_context(runtime: Runtime, held: Held, news: News) -> None:
    """Keep the context of the run that *held* was executing, if that is over now and was long."""
    if not is_long(held):
        return
    if not any(n.name == "run_transition" and n.values["to_status"] in ENDED for n in news.notices):
        return

    def work(connection: transaction.Connection) -> None:
        outputs = history.outputs_of(connection, [held.run.id]).get(held.run.id, ())
        context = assemble_context(held.definition, outputs)
        contexts.put(connection, held.run.id, documents.encode(context, what="context"))

    transaction.run(runtime.database, work)

"""Pages for what is refused or does not exist; they name nothing of the server, no other run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

from flask import Response, make_response, render_template
from werkzeug.exceptions import HTTPException, InternalServerError

from flask_squidmesh.exceptions import (
    DefinitionUnavailable,
    InvalidRunId,
    RunNotFound,
    SquidMeshError,
    UnknownWorkflow,
)
from flask_squidmesh.ui.text import visible


class Refused(Exception):
    """A request that is refused: its status, a heading, and what to do."""

    def __init__(
        self, status: int, title: str, text: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, title, text)
        self.status = status
        self.title = title
        self.text = text
        self.headers = dict(headers or {})


def forbidden() -> Refused:
    """Return the one answer to everything that is not granted."""
    return Refused(
        403,
        "Not allowed",
        "You may not see or do this here. If you should, ask whoever runs this application.",
    )


def answer(problem: Refused) -> Response:
    """Return the page of a refusal."""
    html = render_template("squidmesh/problem.html", problem=problem)
    response = make_response(html, problem.status)
    response.headers.update(problem.headers)
    return response


def answer_error(error: SquidMeshError) -> Response:
    """Return the page of what the operations raise; other errors are raised again."""
    return answer(_refusal(error))


def answer_abort(error: HTTPException) -> HTTPException | Response:
    """Return the page of what the host, or Werkzeug, has aborted with."""
    status = error.code
    if error.response is not None or status is None or status < 400:
        return error
    if isinstance(error, InternalServerError):
        # Also what an unexpected error becomes, once Flask has logged it.
        text = "Something went wrong on the server. The application's log says what."
        return answer(Refused(500, "That did not work", text))
    headers = {n: v for n, v in error.get_headers() if n.lower() != "content-type"}
    return answer(Refused(status, visible(error.name), visible(error.description), headers=headers))


@singledispatch
def _refusal(error: SquidMeshError) -> Refused:
    """Return what a visitor is told about *error*; ours, such as `ConfigError`, stay inside."""
    raise error


@_refusal.register
def _(_: InvalidRunId) -> Refused:
    return Refused(404, "No such run", "This is not the id of a run. Ids of runs are UUIDs.")


@_refusal.register
def _(_: RunNotFound) -> Refused:
    return Refused(404, "No such run", "No run has this id. It may have been deleted.")


@_refusal.register
def _(_: UnknownWorkflow) -> Refused:
    text = "No workflow of this name is registered in this application."
    return Refused(404, "No such workflow", text)


@_refusal.register
def _(_: DefinitionUnavailable) -> Refused:
    text = "The workflow of this run is not registered in this application. Nothing was changed."
    return Refused(409, "That is not possible", text)

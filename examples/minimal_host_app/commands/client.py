"""The application as its clients see it: JSON requests, while a case keeps account of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask_squidmesh.clock import wait_until
from minimal_host_app.commands.report import Case, CaseEnded
from minimal_host_app.commands.stack import Stack

Document = dict[str, Any]

OVER = ("completed", "failed", "cancelled")


class Client:
    """Sends requests to the views, without a web server in between."""

    def __init__(
        self, stack: Stack, case: Case, *, timeout: float = 60.0, interval: float = 0.05
    ) -> None:
        self.stack = stack
        self.case = case
        self._timeout = timeout
        self._interval = interval
        self._http = stack.app.test_client()

    def post(self, path: str, document: Document, *, status: int = 200, **headers: str) -> Document:
        """Send a request that must be answered with *status*; return the answer."""
        answer = self._http.post(path, json=document, headers=headers)
        found: Document = answer.get_json()
        self.case.did(f"POST {path} {json.dumps(document)} -> {answer.status_code}")
        if answer.status_code != status:
            self.case.require(f"answer to POST {path}", [answer.status_code, found], status)
        return found

    def get(self, path: str) -> Document:
        answer = self._http.get(path)
        found: Document = answer.get_json()
        if answer.status_code != 200:
            self.case.require(f"answer to GET {path}", [answer.status_code, found], 200)
        return found

    def start(self, path: str, *, key: str | None = None, **payload: Any) -> str:
        """Start a run; return its id."""
        headers = {} if key is None else {"Idempotency-Key": key}
        run = self.post(path, payload, status=201, **headers)
        self.case.run_ids.append(run["id"])
        return str(run["id"])

    def decide(self, run_id: str, verb: str, *, comment: str, status: int = 200) -> Document:
        return self.post(
            f"/runs/{run_id}/{verb}",
            {"comment": comment},
            status=status,
            **{"X-Actor": "olivia@example.org"},
        )

    def run(self, run_id: str) -> Document:
        """Return the run with its history."""
        return self.get(f"/runs/{run_id}?include_history=1")

    def explanation(self, run_id: str) -> Document:
        return self.get(f"/runs/{run_id}/explanation")

    def account(self, account_id: str) -> Document:
        return self.get(f"/accounts/{account_id}")

    def until_status(self, run_id: str, status: str) -> Document:
        """Wait until the run has this status, and return it; the case ends if it never has."""
        seen: list[str] = []

        def is_there() -> bool:
            seen.append(self.get(f"/runs/{run_id}")["status"])
            return seen[-1] in (status, *OVER)

        self._wait(is_there)
        run = self.run(run_id)
        self.case.saw(" -> ".join([*_changes(seen[:-1]), _describe(run)]))
        self.case.require("status of the run", run["status"], status)
        return run

    def until_reason(self, run_id: str, reason: str, step: str) -> Document:
        """Wait until the run is explained like this, and return the explanation."""
        seen: list[Document] = []

        def is_there() -> bool:
            seen.append(self.explanation(run_id))
            return [seen[-1]["reason"], seen[-1]["step"]] == [reason, step]

        self._wait(is_there)
        found = seen[-1]
        self.case.saw(f"{found['step']}: {found['reason']} {_brief(found['details'])}")
        self.case.require("explanation", [found["reason"], found["step"]], [reason, step])
        return found

    def until(self, what: str, find: Callable[[], Any], expected: Any) -> None:
        """Wait until what *find* finds is as expected."""
        self._wait(lambda: find() == expected)
        self.case.require(what, find(), expected)

    def _wait(self, condition: Callable[[], bool]) -> None:
        stopping, failed = self.stack.stopping.is_set, self.stack.failed_workers
        wait_until(
            lambda: stopping() or bool(failed()) or condition(),
            timeout=self._timeout,
            interval=self._interval,
        )
        if stopping():
            raise CaseEnded
        if failed():
            self.case.require("workers that ended by themselves", failed(), [])


def attempts(run: Document, step: str) -> list[str]:
    """Return the statuses of a step's attempts; of its last visit, when it had several."""
    found: list[str] = []
    for each in run["step_runs"]:
        if each["step"] == step:
            found = [attempt["status"] for attempt in each["attempts"]]
    return found


def _changes(statuses: list[str]) -> list[str]:
    return [
        each for each, before in zip(statuses, [None, *statuses], strict=False) if each != before
    ]


def _describe(run: Document) -> str:
    step = f" at {run['current_step']}" if run["current_step"] else ""
    return f"{run['status']}{step}"


def _brief(details: Document) -> str:
    kept = {key: value for key, value in details.items() if key not in ("steps", "last_error")}
    return ", ".join(f"{key} {value}" for key, value in kept.items())

"""An application with the blueprint, somebody who decides what is granted, and workflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask.testing import FlaskClient
from marshmallow import fields
from werkzeug.test import TestResponse

from flask_squidmesh import (
    Retry,
    Run,
    StepFailed,
    Workflow,
    approval,
    complete,
    exponential,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.testing import run_until_idle
from tests.contract import host
from tests.contract.host import World

PREFIX = "/squidmesh"
NOBODY = "00000000-0000-7000-8000-000000000000"
"""The id of no run."""


def fail(number: int) -> None:
    raise StepFailed("nothing in stock", code="sold_out", details={"number": number})


class Order(Workflow):
    """Stands at an approval, then at a pause."""

    version = "7"
    shop = manual(
        number=fields.Integer(required=True, strict=True),
        note=fields.String(),
        extra=fields.Raw(),
    )
    desk = manual(number=fields.Integer(required=True, strict=True))
    reserve = step(lambda number: {"reserved": number}, retry=Retry(3, exponential(1, 9)))
    release = approval(output="decision")
    hold = pause()
    cool_down = wait(seconds=60)
    ship = step(lambda number: {"shipped": number})
    put_back = step(fail, input=["number"])
    transitions = [
        reserve >> release >> hold >> cool_down >> ship >> complete,
        release.on_error(put_back),
        put_back >> complete,
    ]


class Parallel(Workflow):
    """Its steps depend on one another."""

    go = manual()
    left = step(lambda: {"left": 1})
    right = step(lambda: {"right": 2})
    both = step(lambda left, right: {"sum": left + right}, after=[left, right])


class Authorizer:
    """Grants everything that is not in `refused`, as `actor`; knows what it was asked."""

    def __init__(self) -> None:
        self.actor: Any = "ann"
        self.refused: set[str] = set()
        self.asked: list[tuple[str, Run | None]] = []

    def __call__(self, action: str, run: Run | None) -> Any:
        self.asked.append((action, run))
        return None if action in self.refused else self.actor


class Api:
    """A client of the blueprint, and short words for what tests do with it."""

    def __init__(self, world: World, authorizer: Authorizer, prefix: str = PREFIX) -> None:
        self.world = world
        self.squidmesh = world.squidmesh
        self.authorizer = authorizer
        self.prefix = prefix
        self.client: FlaskClient = world.app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(self.prefix + path, **options)

    def post(
        self, path: str, json: Any = None, *, key: str | None = None, **options: Any
    ) -> TestResponse:
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Idempotency-Key"] = key
        if json is not None:
            options["json"] = json
        return self.client.post(self.prefix + path, headers=headers, **options)

    def order(self, number: int = 1, **more: Any) -> Run:
        """Start an order without HTTP, and let it go until it stands."""
        return self.go(self.squidmesh.start_run(Order, {"number": number, **more}).id)

    def order_at_pause(self) -> Run:
        run = self.order()
        self.squidmesh.approve_run(run.id, actor="somebody")
        return self.go(run.id)

    def go(self, run_id: str, *, advance: bool = False) -> Run:
        run_until_idle(advance=advance)
        return self.see(run_id)

    def see(self, run_id: str) -> Run:
        return self.squidmesh.inspect_run(run_id, include_history=True)


@contextmanager
def open_api(url: str, **config: Any) -> Iterator[Api]:
    """Open the context of a new application with the blueprint."""
    with host.make_world(url, **{"SQUIDMESH_BLUEPRINT": True, **config}) as world:
        authorizer = Authorizer()
        world.squidmesh.authorize(authorizer)
        world.squidmesh.register(Order)
        world.squidmesh.register(Parallel)
        yield Api(world, authorizer, config.get("SQUIDMESH_URL_PREFIX", PREFIX))


def problem(response: TestResponse) -> tuple[int, str]:
    """Return status and code of a refusal, which must be a problem document."""
    assert response.mimetype == "application/problem+json", response.get_data(as_text=True)
    document: Mapping[str, Any] = response.get_json(force=True)
    assert document["status"] == response.status_code
    assert document["detail"]
    return response.status_code, document["code"]


def errors(response: TestResponse) -> Any:
    """Return what a problem document says about fields."""
    return response.get_json(force=True)["errors"]

"""The API does what its OpenAPI document says, whatever it is sent, authorised or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from flask_squidmesh.http.route import Route
from flask_squidmesh.http.views import ROUTES
from flask_squidmesh.operations import ACTIONS
from tests.contract import host
from tests.http.host import NOBODY, PREFIX, Api, Order, Parallel, open_api
from tests.support.databases import Databases

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
BOUNDED = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# The client of the test refuses to send others; tests/http/test_bodies.py sends them as bytes.
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PAYLOADS = st.one_of(
    st.fixed_dictionaries({"number": st.integers()}, optional={"extra": st.none() | FINITE}),
    st.dictionaries(st.text(), st.text()),
)


@pytest.fixture(scope="module")
def api(databases: Databases) -> Iterator[Api]:
    """One application for all requests: they make a history of their own."""
    url = databases.create(host.prepare)
    with open_api(url) as opened:
        yield opened
    databases.drop(url)


@pytest.fixture(scope="module")
def schema(api: Api) -> Any:
    """What schemathesis reads from the document that is served."""
    return schemathesis.openapi.from_wsgi(f"{PREFIX}/openapi.json", api.world.app)


def some_runs(api: Api) -> list[str]:
    """Return runs in all kinds of places, and one that is none."""
    waiting = api.squidmesh.start_run(Parallel).id
    replayed = api.squidmesh.replay_run(api.order().id, actor="somebody").id
    cancelled = api.order().id
    api.squidmesh.cancel_run(cancelled, actor="somebody")
    rejected = api.order().id
    api.squidmesh.reject_run(rejected, actor={"id": 1})
    failed = api.go(rejected).id
    completed = api.order_at_pause().id
    api.squidmesh.unblock_run(completed)
    api.go(completed, advance=True)
    fresh = api.squidmesh.start_run(Order, {"number": 1}).id
    paused = [api.order().id for _ in range(4)]
    held = [api.order_at_pause().id for _ in range(4)]
    return [waiting, replayed, cancelled, failed, completed, fresh, *paused, *held, NOBODY]


def cases(operation: Any, route: Route) -> st.SearchStrategy[Any]:
    """Return requests as the document has them, and others where there is something to break."""
    right: st.SearchStrategy[Any] = operation.as_strategy(GenerationMode.POSITIVE)
    if route.query is None and "<" not in route.rule:
        return right
    wrong: st.SearchStrategy[Any] = operation.as_strategy(GenerationMode.NEGATIVE)
    return right | wrong


@pytest.mark.parametrize("granted", [True, False], ids=["granted", "refused"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_answers_are_as_documented(api, schema, route, granted):
    operation = schema[route.rule.replace("<", "{").replace(">", "}")][route.method]
    api.authorizer.refused = set() if granted else set(ACTIONS)
    runs = some_runs(api)
    seen = set()

    @settings(BOUNDED, max_examples=25 if granted else 5)
    @given(
        case=cases(operation, route),
        run_id=st.none() | st.sampled_from(runs),
        name=st.none() | st.sampled_from(["order", "parallel"]),
        payload=st.none() | PAYLOADS,
    )
    def check(case, run_id, name, payload):
        # Else hardly a request would be about something that exists.
        is_changed = False
        for key, known in (("run_id", run_id), ("name", name)):
            if known is not None and key in (case.path_parameters or {}):
                case.path_parameters[key] = known
                is_changed = True
        if route.name == "start" and payload is not None and isinstance(case.body, dict):
            case.body["payload"] = payload
            is_changed = True
        checked = CHECKS if is_changed else [*CHECKS, checks.negative_data_rejection]
        seen.add(case.call_and_validate(checks=checked).status_code)

    check()
    if not granted:
        assert seen == {403}

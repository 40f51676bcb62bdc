"""The OpenAPI document: complete, of the same schemas, and true."""

from __future__ import annotations

import dataclasses
import json
import re
import sys

import jsonschema_rs
import pytest

from flask_squidmesh import types
from flask_squidmesh.definition import spec
from flask_squidmesh.http import problems, schemas
from flask_squidmesh.http.views import ROUTES
from flask_squidmesh.operations import ACTIONS
from tests.http.host import NOBODY, Order, Parallel, problem

SECTION_6 = {
    ("get", "/workflows"),
    ("post", "/workflows/{name}/runs"),
    ("get", "/runs"),
    ("get", "/runs/{run_id}"),
    ("get", "/runs/{run_id}/explanation"),
    ("get", "/runs/{run_id}/graph"),
    *(
        ("post", f"/runs/{{run_id}}/{verb}")
        for verb in ("approve", "reject", "unblock", "cancel", "replay")
    ),
    ("get", "/openapi.json"),
}
RESULTS = {
    schemas.RunSchema: types.Run,
    schemas.RunPageSchema: types.RunPage,
    schemas.StepStateSchema: types.StepState,
    schemas.StepRunSchema: types.StepRun,
    schemas.AttemptSchema: types.Attempt,
    schemas.AuditEventSchema: types.AuditEvent,
    schemas.ExplanationSchema: types.Explanation,
    schemas.RunGraphSchema: types.RunGraph,
    schemas.GraphNodeSchema: types.GraphNode,
    schemas.GraphEdgeSchema: types.GraphEdge,
    schemas.TriggerSchema: spec.TriggerSpec,
    schemas.StepSchema: spec.StepSpec,
    schemas.RetrySchema: spec.RetrySpec,
    schemas.BackoffSchema: spec.BackoffSpec,
    schemas.TransitionSchema: spec.TransitionSpec,
}


@pytest.fixture
def document(api):
    response = api.get("/openapi.json")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    return response.json


def operations(document):
    return {(m, path): o for path, item in document["paths"].items() for m, o in item.items()}


def test_it_describes_every_route_and_no_other(document):
    assert document["openapi"] == "3.1.0"
    assert set(operations(document)) == SECTION_6


def test_every_reference_leads_somewhere(document):
    components = document["components"]["schemas"]
    found = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert found == set(components)


def test_its_schemas_are_valid(document):
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_operation_names_its_statuses_and_codes(document):
    for operation in operations(document).values():
        codes = set()
        for status, response in operation["responses"].items():
            if status in ("200", "201"):
                continue
            assert list(response["content"]) == ["application/problem+json"]
            listed = re.findall(r"`(\w+)`", response["description"])
            assert {problems.STATUSES[code] for code in listed} == {int(status)}
            codes.update(listed)
        (route,) = (r for r in ROUTES if r.name == operation["operationId"])
        assert codes == set(route.all_codes())
        assert f"`{route.action}`" in operation["description"]


def test_every_post_has_a_body_and_may_have_a_key(document):
    for (method, _), operation in operations(document).items():
        headers = [p["name"] for p in operation["parameters"] if p["in"] == "header"]
        assert ("requestBody" in operation) == (method == "post")
        assert headers == (["Idempotency-Key"] if method == "post" else [])


@pytest.mark.parametrize(("schema", "result"), RESULTS.items(), ids=lambda kind: kind.__name__)
def test_schemas_have_the_fields_of_the_results(schema, result):
    declared = schema().fields
    names = {field.data_key or name for name, field in declared.items()}
    assert names == {f.name.removesuffix("_") for f in dataclasses.fields(result)}
    assert all(field.required for field in declared.values())


def test_a_definition_has_the_fields_of_its_schema():
    assert set(schemas.WorkflowSchema().fields) == set(Order.definition.to_dict())


def test_answers_follow_their_schemas_to_the_letter(api, document):
    """Also without keys that are not described."""
    run = api.order_at_pause()
    failed = api.order()
    api.squidmesh.reject_run(failed.id, actor={"id": 1}, metadata={"a": 1})
    api.go(failed.id)
    joined = api.squidmesh.start_run(Parallel)
    paths = ["/workflows", "/runs"]
    for run_id in (run.id, failed.id, joined.id):
        here = f"/runs/{run_id}"
        paths += [here, f"{here}?include_history=1", f"{here}/explanation", f"{here}/graph"]
    for path in paths:
        described = re.sub(r"[0-9a-f-]{36}", "{run_id}", path.partition("?")[0])
        operation = document["paths"][described]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        for hidden in (set(), {"runs:payload"}):
            api.authorizer.refused = hidden
            strict(document, schema).validate(api.get(path).json)


def strict(document, schema):
    """Return a validator that takes what is not described for a fault."""
    closed = json.loads(json.dumps(document))
    for component in closed["components"]["schemas"].values():
        component["additionalProperties"] = False
    return jsonschema_rs.Draft202012Validator({**schema, "components": closed["components"]})


def test_it_is_told_only_to_whom_it_is_granted(api):
    api.authorizer.refused = {"api:describe"}
    assert problem(api.get("/openapi.json")) == (403, "forbidden")


def test_without_apispec_the_answer_says_what_to_install(api, monkeypatch):
    monkeypatch.setitem(sys.modules, "apispec", None)
    response = api.get("/openapi.json")
    assert problem(response) == (501, "openapi_unavailable")
    assert "flask-squidmesh[openapi]" in response.get_json(force=True)["detail"]
    assert problem(api.get(f"/runs/{NOBODY}")) == (404, "run_not_found")


def test_every_code_and_every_action_is_in_the_documentation(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "http.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)
    assert {code: int(status) for code, status in listed} == problems.STATUSES
    actions = text.partition("## Who may do what")[2].partition("###")[0]
    assert {*re.findall(r"`(\w+:\w+)`", actions)} == {*ACTIONS}
    routes = {
        tuple(found) for found in re.findall(r"^\| `(GET|POST) (\S+)` \|", text, re.MULTILINE)
    }
    assert routes == {(r.method, r.rule.replace("run_id", "id")) for r in ROUTES}

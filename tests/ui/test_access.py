"""Closed by default; what is not allowed is neither offered nor done."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import abort

from flask_squidmesh import SquidMesh
from flask_squidmesh.operations import ACTIONS
from flask_squidmesh.ui.routes import ROUTES
from tests.contract.host import db, make_app
from tests.http.host import NOBODY
from tests.ui.host import PREFIX, Page, locations

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
CHANGES = {
    "runs:start",
    "runs:approve",
    "runs:reject",
    "runs:unblock",
    "runs:cancel",
    "runs:replay",
}


def rows():
    """Return everything that is stored."""
    with db.engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table))))
            for table in db.metadata.sorted_tables
        }


def path_of(route, run_id, **parts):
    names = {"run_id": run_id, "step": "release", "visit": "1", "of": "payload", "name": "order"}
    path = route.rule.replace("<int:visit>", "<visit>")
    for name, value in {**names, **parts}.items():
        path = path.replace(f"<{name}>", value)
    return path


def addresses(run_id):
    """Return the address of every route: about a run, about none, and about what can be none."""
    return sorted({path_of(r, one) for r in ROUTES for one in (run_id, NOBODY, "x")})


@pytest.mark.parametrize("has_authorizer", [False, True])
def test_every_route_answers_403_and_nothing_else(dashboard, has_authorizer):
    run = dashboard.order()
    before = rows()
    if has_authorizer:
        dashboard.authorizer.refused.update(ACTIONS)
    else:
        dashboard.world.app.extensions["squidmesh"].authority.ask = None

    texts = set()
    for path in addresses(run.id):
        for method in METHODS:
            response = dashboard.client.open(PREFIX + path, method=method)
            assert response.status_code == 403, (method, path)
            texts.add(response.get_data(as_text=True))

    (text,) = texts - {""}
    assert run.id not in text
    assert rows() == before


def test_without_an_authorizer_the_log_says_what_to_do(dashboard, caplog):
    dashboard.world.app.extensions["squidmesh"].authority.ask = None
    assert dashboard.get("/").status == 403
    (record,) = caplog.records
    assert "register a function with @squidmesh.authorize" in record.getMessage()


def test_without_an_authorizer_not_even_the_database_is_asked():
    app = make_app("postgresql+psycopg://nobody@127.0.0.1:1/none", SQUIDMESH_DASHBOARD=True)
    SquidMesh(app, db=db)
    assert app.test_client().get(f"{PREFIX}/runs/{NOBODY}").status_code == 403


def test_it_is_not_mounted_unless_asked_for(new_dashboard):
    assert new_dashboard(SQUIDMESH_DASHBOARD=False).get("/").status == 404


def test_it_stands_below_the_prefix(new_dashboard):
    dashboard = new_dashboard(SQUIDMESH_URL_PREFIX="/ops", SQUIDMESH_BLUEPRINT=True)
    assert dashboard.get("/").status == 200
    assert all(link.startswith(("/ops/dashboard", "#")) for link in dashboard.get("/").links())


def test_each_route_asks_about_its_action_and_its_run(dashboard):
    run = dashboard.order()
    for route in ROUTES:
        for method, action in (("GET", route.to_see), ("POST", route.to_do or route.to_see)):
            dashboard.authorizer.asked.clear()
            dashboard.authorizer.refused = {action}
            dashboard.client.open(PREFIX + path_of(route, run.id), method=method)
            ((asked, about),) = dashboard.authorizer.asked
            expected = run.id if "<run_id>" in route.rule else None
            assert (asked, about and about.id) == (action, expected), route.rule


@pytest.mark.parametrize("run_id", [NOBODY, "x", "' or 1=1"])
def test_a_run_that_is_missing_is_asked_about_as_none_and_told_when_granted(dashboard, run_id):
    for route in ROUTES:
        if "<run_id>" in route.rule:
            dashboard.authorizer.asked.clear()
            assert dashboard.get(path_of(route, run_id)).status == 404
            assert dashboard.authorizer.asked[0][1] is None


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_is_not_there_is_told_when_granted(dashboard, method):
    run = dashboard.order()
    before = rows()
    for path in addresses(run.id):
        assert dashboard.client.open(PREFIX + path, method=method).status_code in (404, 405)
    assert rows() == before


def walk(dashboard):
    """Return every page that can be reached by links, from the overview on."""
    found: dict[str, Page] = {}
    ahead = [PREFIX + "/"]
    while ahead:
        address = ahead.pop().split("#")[0]
        if not address.startswith(PREFIX) or address in found or "/static/" in address:
            continue
        page = found[address] = Page(dashboard.client.get(address))
        ahead += page.links()
    return found


def test_whoever_may_only_look_finds_no_way_to_change_anything(dashboard):
    runs = [dashboard.order(), dashboard.order_at_pause(), dashboard.failed_order()]
    tickets = {}
    for path in (f"/runs/{runs[0].id}", f"/runs/{runs[0].id}/cancel", "/workflows/order/start"):
        tickets[path] = dashboard.get(path).fields()
    dashboard.authorizer.refused = set(CHANGES)
    before = rows()

    pages = walk(dashboard)
    assert len(pages) > 20
    for address, page in pages.items():
        assert page.status in (200, 302, 303), address
        assert "form[method=post]" not in page, address
        assert "button[data-verb]" not in page, address

    # By hand, too, with tokens that were good for somebody who may.
    for fields in ({}, *tickets.values()):
        for run in runs:
            for path in addresses(run.id):
                for method in METHODS[2:]:
                    data = {**fields, "step": "release", "visit": "1", "payload": '{"number": 1}'}
                    answer = dashboard.client.open(PREFIX + path, method=method, data=data)
                    assert answer.status_code in (403, 404, 405), (method, path)
    assert rows() == before


def test_looking_at_everything_changes_nothing(dashboard):
    for run in (dashboard.order(), dashboard.order_at_pause(), dashboard.failed_order()):
        for path in addresses(run.id):
            before = rows()
            assert dashboard.get(path).status in (200, 303, 404), path
            assert dashboard.client.head(PREFIX + path).status_code in (200, 303, 404)
            assert rows() == before


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_an_answer_that_is_not_allowed_is_not_offered(dashboard, verb):
    run = dashboard.order()
    dashboard.authorizer.refused = {f"runs:{verb}"}
    for path in (f"/runs/{run.id}", f"/runs/{run.id}/decisions/release/1"):
        page = dashboard.get(path)
        offered = {str(button["data-verb"]) for button in page.soup.select("button[data-verb]")}
        assert offered == {"approve", "reject"} - {verb}
        assert f"/{verb}" not in " ".join(page.links())
        assert page.one(f"[data-leads={verb}]")  # what it would lead to is no secret


def test_lists_lead_only_to_what_may_be_read(dashboard):
    run = dashboard.order()
    dashboard.failed_order()
    dashboard.authorizer.refused = {"runs:read"}
    for path in ("/", "/inbox", "/runs"):
        page = dashboard.get(path)
        assert page.status == 200
        assert not [link for link in page.links() if "/runs/" in link]
    assert run.id in dashboard.get("/runs").html


def test_who_may_not_list_is_shown_no_way_to_lists(dashboard):
    run = dashboard.order()
    dashboard.authorizer.refused = {"runs:list", "workflows:list"}
    page = dashboard.get(f"/runs/{run.id}")
    assert page.status == 200
    assert page.texts(".sq-nav a") == []
    assert "h1 a" not in page


def test_who_may_decide_but_not_read_is_told_no_more_than_that_it_is_done(dashboard):
    run, other = dashboard.order(note="secret"), dashboard.order(note="secret")
    forms = {r.id: dashboard.get(f"/runs/{r.id}").fields("#question-form") for r in (run, other)}
    dashboard.squidmesh.approve_run(other.id, actor="bob", comment="hidden")
    dashboard.authorizer.refused = {"runs:read"}

    done = dashboard.post(f"/runs/{run.id}/approve", forms[run.id])
    late = dashboard.post(f"/runs/{other.id}/approve", forms[other.id])

    assert (done.status, late.status) == (200, 409)
    assert "#done" in done
    assert not {"secret", "hidden", "bob", "release"} & set((done.html + late.html).split('"'))
    assert "bob" not in late.html
    assert ("approved", "ann", None) in dashboard.audit(run.id)


def test_without_runs_payload_data_is_replaced_by_its_shape(dashboard):
    run = dashboard.order_at_pause()
    dashboard.go(dashboard.squidmesh.unblock_run(run.id).id)
    secret = dashboard.order(number=4711, note="tell nobody")
    paths = [
        f"/runs/{secret.id}",
        f"/runs/{secret.id}/steps/reserve",
        f"/runs/{secret.id}/decisions/release/1",
        "/runs",
        "/inbox",
        "/",
    ]
    assert all("tell nobody" in dashboard.get(path).html for path in paths[:3])
    dashboard.authorizer.refused = {"runs:payload"}

    for path in paths:
        html = dashboard.get(path).html
        assert "tell nobody" not in html
        assert "4711" not in html
    page = dashboard.get(paths[0])
    assert page.texts("#data-payload code") == [
        "object, 2 keys number: number note: text, 11 characters"
    ]
    assert "a[download]" not in page
    for of in ("payload", "context"):
        assert dashboard.get(f"/runs/{secret.id}/data/{of}").status == 403


def test_an_authorizer_may_send_to_a_login(dashboard):
    @dashboard.squidmesh.authorize
    def send_to_login(action, run):
        abort(dashboard.world.app.redirect("/login"))

    page = dashboard.get("/inbox")
    assert (page.status, locations(page)) == (302, "/login")


def test_a_failing_authorizer_grants_nothing_and_tells_nothing(dashboard, caplog):
    @dashboard.squidmesh.authorize
    def broken(action, run):
        raise ZeroDivisionError("secret")

    page = dashboard.get("/inbox")
    assert (page.status, "secret" in page.html) == (500, False)
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("actor", [True, 7, "", {}, ["ann"]])
def test_what_is_no_actor_grants_nothing(dashboard, actor):
    dashboard.authorizer.actor = actor
    assert dashboard.get("/runs").status == 500


def test_a_visitor_is_asked_about_once_for_each_question(dashboard):
    run = dashboard.order()
    dashboard.authorizer.asked.clear()
    dashboard.get(f"/runs/{run.id}")
    asked = [(action, about and about.id) for action, about in dashboard.authorizer.asked]
    assert len(asked) == len(set(asked))
    assert dashboard.authorizer.asked[0] == ("runs:read", dashboard.squidmesh.inspect_run(run.id))

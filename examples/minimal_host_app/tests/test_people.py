"""The dashboard behind the application's login: who may decide, and who may only look."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_squidmesh import testing
from minimal_host_app import people
from minimal_host_app.accounts import statement
from minimal_host_app.extensions import db, squidmesh
from minimal_host_app.factory import create_app

DASHBOARD = "/squidmesh/dashboard/"
OLIVIA, VICTOR = "olivia@example.org", "victor@example.org"
REASON = "told in confidence"
REFUND = {"account_id": "ada", "amount": 1500, "reason": REASON}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(autouse=True)
def secrets_of_the_tests(app):
    app.config["SECRET_KEY"] = "only for tests"  # noqa: S105  # protects nothing
    app.config["PASSWORDS"] = {OLIVIA: "o", VICTOR: "v"}


@pytest.fixture
def refund(app, client):
    """The id of a run that waits for a decision."""
    with app.app_context():
        run = client.post("/approvals", json=REFUND).json["id"]
        testing.run_until_idle()
    return run


def soup(answer):
    return BeautifulSoup(answer.text, "html.parser")


def fields(page, form):
    found = page.select_one(form)
    return {str(field["name"]): str(field.get("value", "")) for field in found.select("[name]")}


def log_in(client, person, password, **more):
    form = fields(soup(client.get("/login", query_string=more)), "form")
    return client.post("/login", data={**form, "person": person, "password": password})


def as_person(app, person):
    client = app.test_client()
    assert log_in(client, person, person[0]).status_code == 303
    return client


def rows():
    with db.engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table))))
            for table in db.metadata.sorted_tables
        }


def routes(app, run_id):
    """Return the path of every page and form of the dashboard, with what it needs filled in."""
    values = {"run_id": run_id, "step": "decide", "visit": 1, "of": "payload"}
    values |= {"name": "manual_approval", "filename": "dashboard.css"}
    with app.test_request_context():
        bound = app.url_map.bind("")
        return [
            bound.build(rule.endpoint, {name: values[name] for name in rule.arguments})
            for rule in app.url_map.iter_rules()
            if rule.endpoint.startswith("squidmesh_dashboard.")
        ]


def test_whoever_is_not_logged_in_is_sent_to_the_login_and_back(client, refund):
    wanted = f"{DASHBOARD}runs/{refund}?rows=2"
    sent = client.get(wanted)
    assert sent.status_code == 302
    form = fields(soup(client.get(sent.location)), "form")
    back = client.post("/login", data={**form, "person": OLIVIA, "password": "o"})
    assert (back.status_code, back.location) == (303, wanted)
    assert client.get(wanted).status_code == 200


def test_without_login_nothing_is_shown_or_done(app, client, refund):
    with app.app_context():
        before = rows()
        for path in routes(app, refund):
            if "/static/" not in path:
                for method in ("GET", *CHANGING):
                    answer = client.open(path, method=method)
                    assert answer.location.startswith("/login?next="), (method, path)
                    assert refund not in answer.text.replace(path, "")
        assert rows() == before


def test_who_may_decide_decides_and_is_named(app, refund):
    olivia = as_person(app, OLIVIA)
    page = soup(olivia.get(f"{DASHBOARD}runs/{refund}/decision", follow_redirects=True))
    assert REASON in page.text
    form = page.select_one("#question-form")
    answered = olivia.post(
        str(form.select_one("[data-verb=approve]")["formaction"]),
        data={**fields(page, "#question-form"), "comment": "I have seen the statement"},
    )
    assert answered.status_code == 303
    with app.app_context():
        testing.run_until_idle()
        run = squidmesh.inspect_run(refund, include_history=True)
        said = [(event.type, event.actor, event.comment) for event in run.audit_events or ()]
        assert run.status == "completed"
        assert ("approved", OLIVIA, "I have seen the statement") in said
        assert statement("ada")["balance"] == REFUND["amount"]


@pytest.mark.parametrize(("verb", "status"), [("cancel", "cancelled"), ("start", "pending")])
def test_who_may_decide_may_do_the_rest_too(app, refund, verb, status):
    olivia = as_person(app, OLIVIA)
    path = f"runs/{refund}/cancel" if verb == "cancel" else "workflows/daily_digest/start"
    form = fields(soup(olivia.get(DASHBOARD + path)), "form[method=post]")
    form |= {"payload": '{"day": "2026-11-02"}', "trigger": "by_hand"} if verb == "start" else {}
    assert olivia.post(DASHBOARD + path, data=form).status_code == 303
    with app.app_context():
        assert status in [run.status for run in squidmesh.list_runs()]


def test_who_may_only_look_finds_no_way_to_change_anything(app, refund):
    olivia, victor = as_person(app, OLIVIA), as_person(app, VICTOR)
    stolen = fields(soup(olivia.get(f"{DASHBOARD}runs/{refund}")), "#question-form")
    ahead, seen = {DASHBOARD}, {}
    with app.app_context():
        before = rows()
        while ahead:
            path = ahead.pop()
            answer = seen[path] = victor.get(path, follow_redirects=True)
            links = {str(a["href"]).partition("#")[0] for a in soup(answer).select("a[href]")}
            ahead |= {link for link in links if link.startswith(DASHBOARD)} - seen.keys()
        assert len(seen) > 20
        for path, answer in seen.items():
            assert answer.status_code == 200, path
            assert not soup(answer).select("form[method=post], button[data-verb]"), path
            assert REASON not in answer.text, path
        for path in routes(app, refund):
            for method in CHANGING:
                answer = victor.open(path, method=method, data={**stolen, "payload": "{}"})
                assert answer.status_code in (403, 405), (method, path)
        assert victor.get(f"{DASHBOARD}runs/{refund}/data/payload").status_code == 403
        assert rows() == before


@pytest.mark.parametrize(
    ("person", "password"),
    [
        (OLIVIA, "v"),
        (OLIVIA, ""),
        ("nobody@example.org", ""),
        ("nobody@example.org", "o"),
        ("", ""),
    ],
)
def test_wrong_name_or_password_is_refused(client, person, password):
    answer = log_in(client, person, password)
    assert answer.status_code == 401
    assert "not the name and the password" in answer.text
    assert client.get(DASHBOARD).status_code == 302


def test_somebody_without_a_password_can_not_log_in(app, client):
    app.config["PASSWORDS"] = {OLIVIA: "o"}
    assert log_in(client, VICTOR, "").status_code == 401


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_form_of_another_site_is_refused(app, path):
    visitor = as_person(app, OLIVIA) if path == "/logout" else app.test_client()
    for token in ({}, {"token": ""}, {"token": "guessed"}):
        answer = visitor.post(path, data={"person": OLIVIA, "password": "o", **token})
        assert answer.status_code == 400
    is_logged_in = visitor.get(DASHBOARD).status_code == 200
    assert is_logged_in == (path == "/logout")


@pytest.mark.parametrize(
    "elsewhere",
    ["https://example.com/", "//example.com/", "/\\example.com", "javascript:alert(1)", "/login"],
)
def test_login_leads_nowhere_but_into_the_dashboard(client, elsewhere):
    assert log_in(client, OLIVIA, "o", next=elsewhere).location == DASHBOARD


def test_login_begins_a_new_session_and_logout_ends_it(client):
    with client.session_transaction() as session:
        session["left"] = "behind"
    log_in(client, OLIVIA, "o")
    with client.session_transaction() as session:
        assert dict(session) == {"person": OLIVIA}
    page = soup(client.get("/login"))
    assert OLIVIA in page.text
    assert client.post("/logout", data=fields(page, "form")).status_code == 303
    assert client.get(DASHBOARD).status_code == 302


@pytest.mark.parametrize("missing", ["SECRET_KEY", "PASSWORDS"])
def test_nobody_can_log_in_before_somebody_has_set_it_up(app, client, missing):
    app.config[missing] = None if missing == "SECRET_KEY" else {}
    page = client.get("/login")
    assert page.status_code == 200
    assert f"HOST_APP_{missing}" in page.text
    assert not soup(page).select("form")
    assert client.post("/login", data={"person": OLIVIA, "password": "o"}).status_code == 400
    assert client.get(DASHBOARD).status_code == 302


def test_login_page_carries_a_strict_policy(client):
    headers = client.get("/login").headers
    assert headers["Content-Security-Policy"] == people.POLICY
    assert "unsafe" not in people.POLICY
    assert headers["Cache-Control"] == "no-store"
    assert "SameSite=Lax" in headers["Set-Cookie"]
    assert "HttpOnly" in headers["Set-Cookie"]


def test_passwords_that_are_no_object_are_refused():
    with pytest.raises(TypeError, match="HOST_APP_PASSWORDS"):
        create_app({"DATABASE_URL": "sqlite://", "PASSWORDS": "secret"})

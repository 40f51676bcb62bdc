"""No other site makes a browser send a form here."""

from __future__ import annotations

import pytest
from flask_wtf import CSRFProtect

from flask_squidmesh.testing import freeze
from flask_squidmesh.ui.forgery import FIELD, LIFETIME

VERBS = ("approve", "reject", "cancel")


def question(dashboard, run):
    return dashboard.get(f"/runs/{run.id}").fields("#question-form")


def assert_nothing_happened(dashboard, run, page):
    assert page.status == 400
    assert "too old, or was not opened in this browser" in page.text("[data-problem]")
    assert dashboard.see(run.id) == run


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("token", [None, "", "x", "x.y.z", "\u202e" * 9])
def test_a_form_without_a_good_token_changes_nothing(dashboard, verb, token):
    run = dashboard.order()
    fields = question(dashboard, run)
    del fields[FIELD]
    if token is not None:
        fields[FIELD] = token
    assert_nothing_happened(dashboard, run, dashboard.post(f"/runs/{run.id}/{verb}", fields))


def test_a_token_is_good_for_its_own_session_only(dashboard):
    run = dashboard.order()
    fields = question(dashboard, run)
    dashboard.client = dashboard.world.app.test_client()
    dashboard.get(f"/runs/{run.id}")
    assert_nothing_happened(dashboard, run, dashboard.post(f"/runs/{run.id}/approve", fields))


def test_a_token_is_not_good_for_ever(dashboard):
    run = dashboard.order()
    with freeze() as clock:
        early, late = question(dashboard, run), question(dashboard, dashboard.order())
        clock.advance(seconds=LIFETIME.total_seconds() - 1)
        assert dashboard.post(f"/runs/{run.id}/approve", early).status == 303
        clock.advance(seconds=2)
        other = dashboard.order()
        assert_nothing_happened(dashboard, other, dashboard.post(f"/runs/{other.id}/cancel", late))


def test_a_token_of_the_former_secret_key_is_good_as_long_as_the_host_says(dashboard):
    run = dashboard.order()
    fields = question(dashboard, run)
    dashboard.world.app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["secret"])
    assert dashboard.post(f"/runs/{run.id}/approve", fields).status == 303


def test_without_a_secret_key_there_are_pages_but_no_forms(new_dashboard):
    dashboard = new_dashboard(SECRET_KEY=None)
    run = dashboard.order()
    for path in (f"/runs/{run.id}", f"/runs/{run.id}/cancel", "/workflows/order/start"):
        page = dashboard.get(path)
        assert "form[method=post]" not in page
        assert "SECRET_KEY" in page.text("#no-secret-key")
    said = {"step": "release", "visit": "1", FIELD: "x"}
    assert_nothing_happened(dashboard, run, dashboard.post(f"/runs/{run.id}/approve", said))


@pytest.mark.parametrize("exempt", [False, True])
def test_flask_wtfs_token_is_used_where_the_host_has_it(dashboard, exempt):
    app = dashboard.world.app
    protection = CSRFProtect(app)
    if exempt:
        protection.exempt(app.blueprints["squidmesh_dashboard"])
    run = dashboard.order()
    fields = question(dashboard, run)
    assert FIELD not in fields

    without = {name: value for name, value in fields.items() if name != "csrf_token"}
    refused = dashboard.post(f"/runs/{run.id}/approve", without)
    assert (refused.status, dashboard.see(run.id)) == (400, run)
    assert "[data-problem='400']" in refused

    assert dashboard.post(f"/runs/{run.id}/approve", fields).status == 303
    assert ("approved", "ann", None) in dashboard.audit(run.id)


@pytest.mark.parametrize("key", ["x" * 101, "ä", "a\nb"])
def test_a_key_that_no_form_has_is_refused(dashboard, key):
    run = dashboard.order()
    fields = {**question(dashboard, run), "key": key}
    assert_nothing_happened(dashboard, run, dashboard.post(f"/runs/{run.id}/approve", fields))

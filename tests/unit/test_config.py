"""Every setting accepts what it should, refuses the rest, and says what to do instead."""

from __future__ import annotations

import dataclasses
import math
import pickle
from datetime import timedelta

import pytest

from flask_squidmesh.config import Settings, known_keys
from flask_squidmesh.exceptions import ConfigError

DURATIONS = ["STALE_STEP_TIMEOUT", "LEASE_TTL", "TICK_INTERVAL", "INLINE_BUDGET"]
NOT_NUMBERS: list[object] = [True, "60", b"60", [60], object(), complex(1, 0)]
OUT_OF_RANGE: list[object] = [-1, -0.5, timedelta(seconds=-1), math.nan, math.inf, -math.inf]
TOO_LONG: list[object] = [1e30, 10**400, timedelta.max]
NOT_SECONDS = [*NOT_NUMBERS, *OUT_OF_RANGE, *TOO_LONG]
NOT_INTEGERS = [*NOT_NUMBERS, None, 2.0, -1, 2**40, math.nan]
NOT_BOOLEANS: list[object] = [0, 1, "true", "false", None, []]
BAD: dict[str, list[object]] = {
    "QUEUE": [None, 1, "", " ", "a b", "a,b", "a\n", "\x00", "q" * 201],
    "WORKFLOWS": ["a.b", b"a", None, 3, {"a"}, [""], [" "], [3], ["a", None], [Settings]],
    "STALE_STEP_TIMEOUT": NOT_SECONDS,
    "LEASE_TTL": [*NOT_SECONDS, None, 0],
    "MAX_LOST_ATTEMPTS": NOT_INTEGERS,
    "TICK_INTERVAL": [*NOT_SECONDS, None, 0],
    "TICKER": NOT_BOOLEANS,
    "INLINE_BUDGET": [*NOT_SECONDS, None],
    "MAX_STEP_VISITS": [*NOT_INTEGERS, 0],
    "MAX_DOCUMENT_BYTES": [*NOT_INTEGERS, 0],
    "DISPATCH": [None, "", "Celery", "sync", 1, ["celery"]],
    "BLUEPRINT": NOT_BOOLEANS,
    "DASHBOARD": NOT_BOOLEANS,
    "URL_PREFIX": [None, 3, "", "/", "flows", "/flows/", "/a b", "/a?b", "/a#b", "/a\n"],
}


def read(**settings):
    return Settings.from_mapping({f"SQUIDMESH_{key}": value for key, value in settings.items()})


def refusal(config):
    with pytest.raises(ConfigError) as caught:
        Settings.from_mapping(config)
    return caught.value


def test_defaults_are_those_of_the_specification():
    assert dataclasses.asdict(Settings.from_mapping({})) == {
        "queue": "squidmesh",
        "workflows": (),
        "stale_step_timeout": None,
        "lease_ttl": 60.0,
        "max_lost_attempts": 3,
        "tick_interval": 1.0,
        "ticker": True,
        "inline_budget": 5.0,
        "max_step_visits": 1000,
        "max_document_bytes": 1048576,
        "dispatch": "celery",
        "blueprint": False,
        "dashboard": False,
        "url_prefix": "/squidmesh",
    }


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().queue = "other"  # type: ignore[misc]  # that is the point


def test_keys_of_others_are_ignored():
    config = {"SECRET_KEY": "x", "CELERY": {}, "SQUID": 1, "squidmesh_queue": 3}
    assert Settings.from_mapping(config) == Settings()


@pytest.mark.parametrize("key", known_keys())
def test_every_key_is_read(key):
    values = {
        "SQUIDMESH_QUEUE": "slow",
        "SQUIDMESH_WORKFLOWS": ["billing.workflows"],
        "SQUIDMESH_TICKER": False,
        "SQUIDMESH_DISPATCH": "manual",
        "SQUIDMESH_BLUEPRINT": True,
        "SQUIDMESH_DASHBOARD": True,
        "SQUIDMESH_URL_PREFIX": "/flows",
    }
    settings = Settings.from_mapping({key: values.get(key, 7)})
    attribute = key.removeprefix("SQUIDMESH_").lower()
    assert getattr(settings, attribute) != getattr(Settings(), attribute)


@pytest.mark.parametrize("key", DURATIONS)
@pytest.mark.parametrize(
    ("given", "seconds"),
    [(2, 2.0), (0.25, 0.25), (timedelta(minutes=2), 120.0), (timedelta(milliseconds=5), 0.005)],
)
def test_durations_are_seconds_or_timedeltas(key, given, seconds):
    found = getattr(read(**{key: given}), key.lower())
    assert (found, type(found)) == (seconds, float)


@pytest.mark.parametrize("key", ["STALE_STEP_TIMEOUT", "INLINE_BUDGET"])
def test_zero_is_a_duration_where_it_means_something(key):
    assert getattr(read(**{key: 0}), key.lower()) == 0.0
    assert getattr(read(**{key: timedelta(0)}), key.lower()) == 0.0


def test_stale_step_timeout_can_be_disabled():
    assert read(STALE_STEP_TIMEOUT=None).stale_step_timeout is None


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        pytest.param(f"SQUIDMESH_{key}", bad, id=f"{key.lower()}-{number}")
        for key, values in BAD.items()
        for number, bad in enumerate(values)
    ],
)
def test_bad_value_is_refused_with_a_reason(key, bad):
    error = refusal({key: bad})
    assert error.missing == []
    assert list(error.invalid) == [key]
    assert error.invalid[key] is bad
    assert error.reasons[key] in str(error)


def test_every_key_has_bad_values():
    assert tuple(f"SQUIDMESH_{key}" for key in BAD) == known_keys()


@pytest.mark.parametrize("given", [["a", "b.c"], ("a", "b.c")], ids=["list", "tuple"])
def test_workflows_are_kept_in_order(given):
    assert read(WORKFLOWS=given).workflows == ("a", "b.c")


def test_one_import_path_without_a_list_is_told_how():
    error = refusal({"SQUIDMESH_WORKFLOWS": "billing.workflows"})
    assert "['billing.workflows']" in error.reasons["SQUIDMESH_WORKFLOWS"]


def test_class_among_the_import_paths_is_told_its_path():
    error = refusal({"SQUIDMESH_WORKFLOWS": [Settings]})
    assert "'flask_squidmesh.config.Settings'" in error.reasons["SQUIDMESH_WORKFLOWS"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("SQUIDMESH_QUEU", "SQUIDMESH_QUEUE"),
        ("SQUIDMESH_LEASE_TIME", "SQUIDMESH_LEASE_TTL"),
        ("SQUIDMESH_STALE_TIMEOUT", "SQUIDMESH_STALE_STEP_TIMEOUT"),
        ("SQUIDMESH_WORKFLOW", "SQUIDMESH_WORKFLOWS"),
        ("SQUIDMESH_URLPREFIX", "SQUIDMESH_URL_PREFIX"),
        ("SQUIDMESH_tick_interval", "SQUIDMESH_TICK_INTERVAL"),
    ],
)
def test_unknown_key_is_refused_with_the_closest_known_one(key, meant):
    error = refusal({key: 1})
    assert error.invalid == {key: 1}
    assert f"did you mean {meant}?" in error.reasons[key]


@pytest.mark.parametrize("key", ["SQUIDMESH_", "SQUIDMESH_TEST_DATABASE_URL", "SQUIDMESH_ЖЖЖ"])
def test_any_unknown_key_is_refused(key):
    assert list(refusal({key: None}).invalid) == [key]


def test_all_problems_are_reported_at_once():
    config = {
        "SQUIDMESH_QUEUE": "",
        "SQUIDMESH_LEASE_TTL": True,
        "SQUIDMESH_TICKER": "no",
        "SQUIDMESH_NOTHING": 1,
        "SQUIDMESH_TICK_INTERVAL": 2,
    }
    error = refusal(config)
    assert error.invalid == {
        "SQUIDMESH_QUEUE": "",
        "SQUIDMESH_LEASE_TTL": True,
        "SQUIDMESH_TICKER": "no",
        "SQUIDMESH_NOTHING": 1,
    }
    assert set(error.reasons) == set(error.invalid)


def test_refusal_survives_pickling():
    error = refusal({"SQUIDMESH_QUEUE": "", "SQUIDMESH_X": 1})
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (copy.invalid, copy.reasons, str(copy)) == (error.invalid, error.reasons, str(error))

"""What the benchmarks say of what they have measured."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import __main__ as program
from benchmarks import machine, markdown, report
from benchmarks.registry import MEASURES, named
from benchmarks.report import Bar, Measure, Reading, Taken
from benchmarks.work import OURS

FACTS = {
    "mode": "quick",
    "machine": {
        "processor": "a processor",
        "cores": 2,
        "memory_gib": 4,
        "system": "a system",
        "python": "3",
    },
    "servers": {"postgresql": "18", "valkey": "9", "fsync": "on"},
    "versions": {"dbos": "3"},
    "missing_peers": ["absurd"],
}


@pytest.fixture
def quiet(monkeypatch):
    """Do not watch the machine for seconds."""
    monkeypatch.setattr(machine, "WATCHED", 0.01)


def nothing(*, full: bool) -> Iterator[Reading]:
    raise AssertionError("nobody asked for it")


def taken(*readings, error=None, only_full=(), **bars):
    measure = Measure("speed", "How fast?", nothing, bars=bars, only_full=frozenset(only_full))
    return Taken(measure, tuple(Reading(name, value, "x") for name, value in readings), 1.0, error)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_measure_has_a_bar_or_says_why_not(measure):
    assert bool(measure.bars) != bool(measure.no_bar)
    assert measure.question
    assert measure.only_full <= measure.bars.keys()


def test_every_measure_is_found_by_its_name():
    assert named([]) == MEASURES
    assert [named([measure.name]) for measure in MEASURES] == [(each,) for each in MEASURES]


def test_a_ratio_is_the_median_of_those_of_each_round():
    # In the second round something disturbed both.
    assert report.ratio([100, 10, 120], [50, 5, 40]) == 2


def test_a_ratio_needs_both_in_every_round():
    with pytest.raises(ValueError, match="zip"):
        report.ratio([1, 2], [1])


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3, 1, 2], 50, 2), (range(1, 101), 95, 95), ([7], 95, 7), ([2, 1], 1, 1)],
)
def test_a_percentile_is_one_of_the_values(values, percent, expected):
    assert report.percentile(list(values), percent) == expected


@pytest.mark.parametrize(
    ("bar", "value", "reached"),
    [
        (Bar(at_least=2), 2.0, True),
        (Bar(at_least=2), 1.99, False),
        (Bar(at_most=2), 2.0, True),
        (Bar(at_most=2), 2.01, False),
    ],
)
def test_a_bar_is_reached_at_its_limit(bar, value, reached):
    assert bar.is_reached(value) is reached


@pytest.mark.parametrize("limits", [{}, {"at_least": 1, "at_most": 2}])
def test_a_bar_has_one_limit(limits):
    with pytest.raises(ValueError, match="exactly one"):
        Bar(**limits)


def test_the_document_survives_json_and_becomes_the_same_table():
    whole = report.document([taken(("fast", 3.0), fast=Bar(at_least=2))], FACTS)
    read = json.loads(json.dumps(whole))

    assert read["format"] == report.FORMAT
    assert read["measures"][0]["readings"] == [
        {
            "name": "fast",
            "value": 3.0,
            "unit": "x",
            "bar": {"at_least": 2, "at_most": None},
            "reached": True,
        }
    ]
    assert report.table(read) == report.table(whole)


def test_the_table_says_plainly_what_was_missed_not_measured_and_failed():
    bars = {"fast": Bar(at_least=2), "slim": Bar(at_most=1), "quick": Bar(at_least=1)}
    one = taken(("fast", 1.0), ("slim", 1.0), error="RuntimeError: gone", **bars)
    lines = report.table(report.document([one], FACTS)).splitlines()

    assert [line.split()[-1] for line in lines[1:]] == ["MISSED", "reached", "measured", "FAILED"]
    assert "at least 2" in lines[1]
    assert "at most 1" in lines[2]


@pytest.mark.parametrize(
    ("one", "plain", "strict"),
    [
        (taken(("fast", 2.0), fast=Bar(at_least=2)), 0, 0),
        (taken(("fast", 1.0), fast=Bar(at_least=2)), 0, 1),
        (taken(fast=Bar(at_least=2)), 0, 1),
        (taken(error="RuntimeError: gone"), 1, 1),
    ],
    ids=["reached", "missed", "not measured", "failed"],
)
def test_only_a_strict_run_fails_for_a_bar(one, plain, strict):
    result = report.document([one], FACTS)

    assert program.verdict(result, strict=False) == plain
    assert program.verdict(result, strict=True) == strict


def test_the_table_says_what_only_a_full_run_measures():
    one = taken(only_full=["fast"], fast=Bar(at_least=1), slim=Bar(at_least=1))
    lines = report.table(report.document([one], FACTS)).splitlines()

    assert lines[1].endswith("only in a full run")
    assert lines[2].endswith("not measured")


def test_the_table_names_what_there_was_no_time_for():
    one = replace(taken(fast=Bar(at_least=1)), left_out=True)
    lines = report.table(report.document([one], FACTS)).splitlines()

    assert lines[1].split() == ["speed", "everything", "-", "no", "time", "left"]


def test_the_table_warns_of_what_was_measured_on_a_busy_machine():
    quiet = taken(("fast", 1.0))
    result = report.document([quiet, replace(quiet, busy=80.0)], FACTS)

    assert report.table(result).count("others used 80 % of the processor") == 1
    assert "Do not trust" not in report.table(report.document([quiet], FACTS))


@pytest.mark.usefixtures("quiet")
def test_a_measure_that_breaks_keeps_what_it_had_and_is_reported(capsys):
    def breaks(*, full: bool) -> Iterator[Reading]:
        yield Reading("fast", 1.0, "x")
        raise RuntimeError("no server")

    one = program.take(Measure("speed", "How fast?", breaks), full=False)

    assert one.readings == (Reading("fast", 1.0, "x"),)
    assert one.error == "RuntimeError: no server"
    assert "no server" in capsys.readouterr().err


@pytest.mark.usefixtures("quiet")
def test_a_measure_is_told_whether_to_be_thorough():
    def echo(*, full: bool) -> Iterator[Reading]:
        yield Reading("full", float(full), "x")

    measure = Measure("speed", "How fast?", echo)

    assert [program.take(measure, full=full).readings[0].value for full in (True, False)] == [1, 0]


def test_the_documentation_names_who_is_faster_and_what_is_missed():
    readings = ((f"{OURS} / dbos", 2.0), (f"{OURS} / absurd", 0.5), (f"{OURS} / floor", 0.4))
    bars = {f"{OURS} / floor": Bar(at_least=0.5), f"{OURS} / dbos": Bar(at_least=2)}
    bars["memory"] = Bar(at_most=1)
    whole = report.document([taken(*readings, error="OSError: full", **bars)], FACTS)

    assert markdown.slower(whole).splitlines() == [
        "* **speed**: absurd does 2 times as much per second.",
        f"* **speed**, bar missed: {OURS} / floor is 0.4 x.",
        "* **speed**, not measured: memory.",
        "* **speed** failed: OSError: full.",
    ]
    assert "not measured: absurd" in markdown.machine(whole)
    assert markdown.figures(whole).count("MISSED") == 1


def test_the_documentation_compares_costs_in_columns():
    one = taken((f"{OURS}: rows", 3.0), ("floor: rows", 1.0))
    whole = report.document([replace(one, measure=replace(one.measure, name="cost"))], FACTS)

    assert markdown.cost(whole).splitlines() == [
        f"| per step | {OURS} | floor |",
        "| --- | --- | --- |",
        "| rows, x | 3 | 1 |",
    ]
    assert "rows" not in markdown.figures(whole)


def test_the_documentation_says_so_when_there_is_nothing_to_admit():
    whole = report.document([taken((f"{OURS} / dbos", 2.0))], FACTS)

    assert "every bar is reached" in markdown.slower(whole)


def test_what_was_measured_is_kept_before_the_next_is(quiet):
    kept: list[dict[str, Any]] = []

    def measured(*, full: bool) -> Iterator[Reading]:
        yield Reading("steps", len(kept), "x")

    bars = {"steps": Bar(at_least=0)}
    measures = [Measure(name, "How fast?", measured, bars=bars) for name in ("first", "second")]
    result = program.measure_all(measures, full=True, about={"machine": "one"}, keep=kept.append)
    told = [[measure["readings"] != [] for measure in document["measures"]] for document in kept]
    assert told == [[True, False], [True, True]]
    assert kept[0]["measures"][1]["absent"] == {"everything": "no time left"}
    assert kept[-1] == result

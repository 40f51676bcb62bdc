"""A short piece of chaos; `python -m benchmarks.chaos` goes on for as long as it is asked to."""

from __future__ import annotations

import json
import sys
import tempfile

import pytest

CHAOS = (sys.executable, "-m", "benchmarks.chaos", "--json")
FAULTS = "kill=2,freeze=4,flush=3,broker=7,database=8,messages=1"


@pytest.mark.postgresql
@pytest.mark.broker
def test_everything_ends_as_expected_whatever_breaks(process):
    chaos = process(
        *(*CHAOS, "--runs", "80", "--seconds", "12", "--workers", "3", "--patience", "60"),
        *("--faults", FAULTS),
        # Not below the folder of this test: its database belongs to a user who can not go there.
        env={"TMPDIR": tempfile.gettempdir()},
    )
    code = chaos.wait_for_end(timeout=110)
    print(chaos.log)
    assert code == 0
    found = json.loads(chaos.log[chaos.log.index("{") :])
    assert found["finished"]
    assert found["accepted"] >= 80
    assert found["ended as expected"] == found["runs"]
    assert (found["lost"], found["violations"], found["zombie writes accepted"]) == (0, [], 0)
    assert {"workers killed", "broker flushed", "database crashed"} <= found["faults"].keys()

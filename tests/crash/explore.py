"""Kills a process at every point of a shape, one after the other, and judges what comes of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from flask_squidmesh.clock import Clock
from tests.crash.life import Life, live
from tests.crash.shapes import SHAPES, WRONG, Shape

NOON: Final = datetime(2026, 11, 2, 12, tzinfo=UTC)

#: How far a worker goes on with a run: as far as it can, or one step per message.
MODES: Final = {"inline": 5.0, "stepwise": 0.0}

Kills = tuple[int, ...]
"""The points at which one process after the other is killed, before one is left alone."""


@dataclass
class Explored:
    """What came of one shape: how many points there are, what was tried, what was wrong."""

    shape: str
    mode: str
    commits: int = 0
    points: int = 0
    killed: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def explore(
    url: str,
    name: str,
    mode: str,
    *,
    every: int = 1,
    pairs: int = 0,
    seed: int = 0,
) -> Explored:
    """Kill at every *every*-th point of a shape, and at *pairs* random pairs of points."""
    began = Clock().monotonic()
    shape = {**SHAPES, **WRONG}[name]
    config: dict[str, Any] = {"SQUIDMESH_INLINE_BUDGET": MODES[mode]}
    found = Explored(name, mode)
    reference = live(url, shape, at=NOON, first=True, **config)
    found.problems += _wrong_with_reference(reference)
    found.points = len(reference.points)
    found.commits = sum(point.startswith("before commit") for point in reference.points)
    # Which ones are left out changes from shape to shape, but not from day to day.
    start = sum(map(ord, name + mode)) % every
    singles = ((number,) for number in range(start + 1, found.points + 1, every))
    for kills in [*singles, *_pairs(found.points, pairs, f"{seed} {name} {mode}")]:
        if found.problems:
            break
        lives = _lives(url, shape, kills, config)
        found.killed += len(lives) - 1
        where = " and then ".join(life.killed_at or "?" for life in lives[:-1])
        wrong = _wrong_with_lives(reference, lives, kills) or differences(reference, lives, shape)
        found.problems += [f"killed {where}: {problem}" for problem in wrong]
    found.seconds = Clock().monotonic() - began
    return found


def _pairs(points: int, count: int, seed: str) -> Iterator[Kills]:
    chance = random.Random(seed)  # noqa: S311  # picks places to die at
    for _ in range(count):
        first = chance.randint(1, points)
        # The second process has less left to do; where it ends before, it is not killed.
        yield first, chance.randint(1, max(1, points - first + 4))


def _lives(url: str, shape: Shape, kills: Kills, config: dict[str, Any]) -> list[Life]:
    lives: list[Life] = []
    now = NOON
    for number, kill_at in enumerate((*kills, None)):
        life = live(url, shape, at=now, first=number == 0, kill_at=kill_at, **config)
        lives.append(life)
        now = life.now or now
        if life.killed_at is None:
            break
    return lives


def _wrong_with_reference(reference: Life) -> list[str]:
    if reference.error:
        return [f"undisturbed: {reference.error}"]
    return [f"undisturbed: {line}" for line in reference.picture["violations"]]


def _wrong_with_lives(reference: Life, lives: Sequence[Life], kills: Kills) -> list[str]:
    wrong = [life.error for life in lives if life.error]
    expected = reference.points[kills[0] - 1]
    if lives[0].killed_at != expected:
        wrong.append(f"the process came by {lives[0].killed_at!r} where {expected!r} was")
    return wrong


def differences(reference: Life, lives: Sequence[Life], shape: Shape) -> list[str]:
    """Return in what the end differs from the undisturbed one, beyond what it may."""
    there, here = reference.picture, lives[-1].picture
    wrong = list(here["violations"])
    wrong += _different("runs", *(_outcomes(each, shape) for each in (there, here)))
    wrong += _different("steps", *(_steps(each, shape) for each in (there, here)))
    wrong += _different("orders", there["orders"], here["orders"])
    wrong += _different("host writes", _entries_due(there, here), sorted(here["entries"]))
    orphans = set().union(*(life.orphans for life in lives))
    wrong += _different("abandoned attempts", sorted(orphans), sorted(_abandoned(here)))
    return wrong


def _different(what: str, expected: object, found: object) -> list[str]:
    return [] if expected == found else [f"{what}: expected {expected}, found {found}"]


def _outcomes(picture: dict[str, Any], shape: Shape) -> list[dict[str, Any]]:
    outcomes = []
    for run in picture["runs"]:
        kept = {key: run[key] for key in run if key not in ("id", "step_runs", "context")}
        context = {k: v for k, v in run["context"].items() if k not in shape.cancellable}
        outcomes.append({**kept, "context": context})
    return outcomes


def _steps(picture: dict[str, Any], shape: Shape) -> list[Any]:
    """Return how each step run ended, and its last attempt; in what order they did may differ."""
    steps = []
    for number, run in enumerate(picture["runs"]):
        for each in run["step_runs"]:
            ended: tuple[object, ...] = ("either",)
            if each["step"] not in shape.cancellable or each["status"] == "failed":
                last = each["attempts"][-1][1] if each["attempts"] else None
                ended = (each["status"], each["outcome"], last)
            steps.append((number, each["step"], each["visit"], *ended))
    return sorted(steps, key=repr)


def _entries_due(there: dict[str, Any], here: dict[str, Any]) -> list[list[Any]]:
    """Return what must have been written: once by each completed step run of a step that writes.

    A step writes if it did undisturbed, one entry per suffix of its key.
    """
    writes: dict[tuple[int, str], set[str]] = {}
    for number, step, key, _ in there["entries"]:
        writes.setdefault((number, step), set()).add(key.partition("/")[2])
    early = {tuple(entry[:3]): entry for entry in here["entries"] if entry[2].endswith("/early")}
    due = []
    for number, run in enumerate(here["runs"]):
        for each in run["step_runs"]:
            if each["status"] != "completed":
                continue
            for suffix in writes.get((number, each["step"]), ()):
                key = f":{each['step']}:{each['visit']}" + (f"/{suffix}" if suffix else "")
                # What a step commits on its own belongs to whichever attempt did it first.
                usual = [number, each["step"], key, each["attempts"][-1][0]]
                due.append(early.get((number, each["step"], key), usual))
    return sorted(due)


def _abandoned(picture: dict[str, Any]) -> set[tuple[str, str, int, int]]:
    return {
        (run["id"], each["step"], each["visit"], number)
        for run in picture["runs"]
        for each in run["step_runs"]
        for number, status in each["attempts"]
        if status == "abandoned"
    }

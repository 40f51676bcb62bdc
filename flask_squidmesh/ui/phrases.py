"""Phrases that several pages use: where a run goes, what an error is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask_squidmesh.definition.spec import StepSpec
from flask_squidmesh.ui.consequences import Consequence
from flask_squidmesh.ui.text import Part, Sentence, foreign, name, say
from flask_squidmesh.ui.when import duration


def follows(consequence: Consequence) -> Sentence:
    """Return where a run goes, as the continuation of a sentence: "it goes on to ..."."""
    path = listed_path(consequence.path)
    match consequence.end:
        case "fails" if consequence.back_to is not None:
            back_to = name(consequence.back_to)
            return say("the run fails: {step} was entered as often as is allowed", step=back_to)
        case "fails":
            return say("the run fails")
        case "joins":
            return say("it is one step fewer that {path} waits for", path=path)
        case "loops":
            back_to = name(consequence.back_to)
            return say("it goes on to {path}, and from there back to {to}", path=path, to=back_to)
        case "asks" if len(consequence.path) == 1:
            return say("it stops at {path}, for the next answer", path=path)
        case "asks":
            return say("it goes on to {path}, where it waits for the next answer", path=path)
        case _ if consequence.path:
            return say("it goes on to {path}, and then completes", path=path)
    return say("the run completes")


def listed_path(path: Iterable[StepSpec]) -> Sentence:
    """Return the steps of a path in order, timers with how long they take."""
    steps = list(path)
    made: list[Part] = []
    for place, spec in enumerate(steps[:6]):
        if place:
            made.append(Part("words", ", then "))
        made.append(name(spec.name))
        if spec.kind == "wait":
            made.append(Part("words", f" (waits {duration(spec.seconds or 0)})"))
    if len(steps) > 6:
        made.append(Part("words", f", then {len(steps) - 6} more"))
    return tuple(made)


def error_in_words(error: Mapping[str, Any] | None) -> Sentence:
    """Return code and message of a stored error."""
    if not error:
        return say("an unknown error")
    code, message = name(error.get("code")), foreign(error.get("message"))
    return say("{code}: {message}", code=code, message=message)

"""Why a run is where it is, what happens next and when: an explanation, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask_squidmesh.definition.spec import Definition
from flask_squidmesh.types import Explanation, Run
from flask_squidmesh.ui import consequences, text
from flask_squidmesh.ui.people import people
from flask_squidmesh.ui.phrases import error_in_words, follows
from flask_squidmesh.ui.text import Sentence, foreign, listed, name, say
from flask_squidmesh.ui.when import duration, moment

MOST_STEPS: Final = 8
"""Of how many unfinished steps a page says why they do not move."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one step, or the run, is where it is, and what happens next."""

    reason: str
    step: str | None
    why: Sentence
    then: Sentence


@dataclass(frozen=True, slots=True)
class _Told:
    """Everything the sentence about one step is told from."""

    run: Run
    definition: Definition
    now: datetime
    step: str | None
    details: Mapping[str, Any]
    since: datetime | None

    @property
    def called(self) -> text.Part:
        return name(self.step) if self.step is not None else text.Part("words", "the run")

    def at(self, key: str) -> Sentence:
        return self.time(self.details.get(key))

    def time(self, at: Any) -> Sentence:
        if not isinstance(at, datetime):
            return say("an unknown time")
        found = moment(at, self.now)
        return say("{at} ({relative})", at=text.time(found), relative=found.relative)

    def after(self, on: Any = "ok") -> Sentence:
        if self.step is None or self.step not in self.definition.steps_by_name:
            return ()
        return follows(consequences.of_outcome(self.definition, self.step, on))


def reasons(
    explanation: Explanation, run: Run, definition: Definition, now: datetime
) -> tuple[Reason, ...]:
    """Return why each unfinished step is where it is, at most `MOST_STEPS` of them.

    *run* is the run with its history.
    """
    several = explanation.details.get("steps")
    if several is None:
        one = {"step": explanation.step, "reason": explanation.reason}
        several = [{**one, "details": explanation.details}]
    active = {s.step: s.created_at for s in run.step_runs or () if s.finished_at is None}
    found = []
    for each in several[:MOST_STEPS]:
        since = active.get(each["step"])
        told = _Told(run, definition, now, each["step"], each["details"], since)
        why, then = _SENTENCES[each["reason"]](told)
        found.append(Reason(each["reason"], each["step"], why, then))
    return tuple(found)


def count_reasons(explanation: Explanation) -> int:
    """Return of how many steps the explanation says why they do not move."""
    return len(explanation.details.get("steps", ("one",)))


def _capital(sentence: Sentence) -> Sentence:
    first, *rest = sentence
    if first.kind != "words":
        return sentence
    return (text.Part("words", first.text[:1].upper() + first.text[1:]), *rest)


def _stop(sentence: Sentence) -> Sentence:
    return (*_capital(sentence), text.Part("words", ".")) if sentence else ()


def _outcomes(told: _Told) -> Sentence:
    """Return what follows if the step succeeds, and if it finally fails."""
    return say("If it succeeds, {ok}. {error}", ok=told.after(), error=_if_it_fails(told))


def _if_it_fails(told: _Told) -> Sentence:
    spec = told.definition.steps_by_name.get(told.step or "")
    if spec is None:
        return ()
    # The outcome of a final failure may be the error route, or the end of the run.
    left = 0
    if spec.retry is not None:
        left = max(spec.retry.max_attempts - int(told.details.get("attempt") or 0), 0)
    if left:
        tries = "once more" if left == 1 else f"up to {left} more times"
        return say(
            "If it fails, it is tried {tries}; after that, {error}.",
            tries=tries,
            error=told.after("error"),
        )
    return say("If it fails, {error}.", error=told.after("error"))


def _pending(told: _Told) -> tuple[Sentence, Sentence]:
    why = say("{step} is ready and waits for a worker to take it", step=told.called)
    if told.since is not None:
        why = say("{why}, since {since}", why=why, since=told.time(told.since))
    then = say(
        "It starts as soon as a worker is free. If that takes longer than a minute, check that "
        "workers listen to the queue: flask squidmesh check."
    )
    return _stop(why), then


def _running(told: _Told) -> tuple[Sentence, Sentence]:
    why = say(
        "Attempt {attempt} of {step} is executing on worker {worker}, since {since}.",
        attempt=str(told.details.get("attempt")),
        step=told.called,
        worker=foreign(told.details.get("worker")),
        since=told.at("started_at"),
    )
    then = say(
        "{outcomes} Should its worker fall silent, another takes over after {until}.",
        outcomes=_outcomes(told),
        until=told.at("lease_expires_at"),
    )
    return why, then


def _lost(told: _Told) -> tuple[Sentence, Sentence]:
    why = say(
        "The worker {worker} that executes attempt {attempt} of {step} has been silent since its "
        "lease ran out at {since}.",
        worker=foreign(told.details.get("worker")),
        attempt=str(told.details.get("attempt")),
        step=told.called,
        since=told.at("lease_expires_at"),
    )
    then = say(
        "Any worker's ticker takes over within seconds: the attempt is given up, and the step is "
        "tried again as its policy allows. If nothing happens, no worker is running."
    )
    return why, then


def _timer(told: _Told) -> tuple[Sentence, Sentence]:
    why = say("{step} waits for its timer until {until}.", step=told.called, until=told.at("until"))
    return why, say("Then {ok}.", ok=told.after())


def _joining(told: _Told) -> tuple[Sentence, Sentence]:
    waiting_on = told.details.get("waiting_on", {})
    steps = listed(
        (
            text.Part("name", f"{text.visible(step)} ({status})")
            for step, status in waiting_on.items()
        ),
        most=5,
    )
    why = say("{step} waits for {steps}.", step=told.called, steps=steps)
    return why, say("It starts by itself when all of them have completed.")


def _retrying(told: _Told) -> tuple[Sentence, Sentence]:
    why = say(
        "The last attempt of {step} failed with {error}",
        step=told.called,
        error=error_in_words(told.details.get("last_error")),
    )
    then = say(
        "Attempt {attempt} begins by itself at {at}.",
        attempt=str(told.details.get("next_attempt")),
        at=told.at("retry_at"),
    )
    return why, then


def _paused(told: _Told) -> tuple[Sentence, Sentence]:
    why = say("The run is paused at {step} until somebody lets it go on", step=told.called)
    return _since(why, told), say("Then {ok}. Nothing happens by itself.", ok=told.after())


def _asked(told: _Told) -> tuple[Sentence, Sentence]:
    why = say("The run waits for a decision at {step}", step=told.called)
    then = say(
        "Approved, {ok}. Rejected, {error}. Nothing happens by itself.",
        ok=told.after(),
        error=told.after("error"),
    )
    return _since(why, told), then


def _since(why: Sentence, told: _Told) -> Sentence:
    if told.since is None:
        return _stop(why)
    return _stop(say("{why}, since {since}", why=why, since=told.time(told.since)))


def _unavailable(told: _Told) -> tuple[Sentence, Sentence]:
    missing = "workflow" if told.details.get("missing") == "workflow" else "step"
    why = say(
        "The code of the {missing} for {step} is not registered here.",
        missing=missing,
        step=told.called,
    )
    then = say(
        "When it is deployed again, or its module listed in SQUIDMESH_WORKFLOWS, the run goes on "
        "by itself."
    )
    return why, then


def _exhausted(told: _Told) -> tuple[Sentence, Sentence]:
    why = say(
        "All {count} attempts of {step} failed, the last one with {error}",
        count=str(told.details.get("max_attempts")),
        step=told.called,
        error=error_in_words(told.details.get("last_error")),
    )
    return why, say(
        "Nothing happens by itself: the run is over. It can be replayed once the cause is mended."
    )


def _failed(told: _Told) -> tuple[Sentence, Sentence]:
    error = error_in_words(told.details.get("last_error"))
    why = say("The run failed at {step} with {error}", step=told.called, error=error)
    return why, say(
        "Nothing happens by itself: the run is over. It can be replayed once the cause is mended."
    )


def _cancelling(told: _Told) -> tuple[Sentence, Sentence]:
    why = say("{who} cancelled the run while a step was executing.", who=_who_cancelled(told.run))
    return why, say("The run ends when that step does; what the step returns leads nowhere.")


def _cancelled(told: _Told) -> tuple[Sentence, Sentence]:
    why = say("{who} cancelled the run", who=_who_cancelled(told.run))
    if told.run.finished_at is not None:
        why = say("{why}; it ended at {at}", why=why, at=told.time(told.run.finished_at))
    return _stop(why), say("Nothing happens by itself: the run is over.")


def _who_cancelled(run: Run) -> Sentence:
    actors = [event.actor for event in run.audit_events or () if event.type == "cancelled"]
    return say("{who}", who=people(actors[-1])) if actors else say("Somebody")


def _completed(told: _Told) -> tuple[Sentence, Sentence]:
    ended = told.run.finished_at or told.run.updated_at
    took = duration((ended - told.run.created_at).total_seconds())
    why = say("Everything is done, since {at}; it took {took}.", at=told.time(ended), took=took)
    return why, say("Nothing more happens: the run is over.")


_SENTENCES: Final[Mapping[str, Callable[[_Told], tuple[Sentence, Sentence]]]] = {
    "pending_dispatch": _pending,
    "step_running": _running,
    "worker_lost": _lost,
    "waiting_until": _timer,
    "waiting_for_dependencies": _joining,
    "waiting_for_retry": _retrying,
    "paused_for_manual_action": _paused,
    "paused_for_approval": _asked,
    "definition_unavailable": _unavailable,
    "retry_exhausted": _exhausted,
    "step_failed": _failed,
    "cancelling": _cancelling,
    "cancelled": _cancelled,
    "completed": _completed,
}
"""By the reasons of `explain_run`: why, and what happens next."""

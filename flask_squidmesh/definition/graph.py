"""The rules about how steps hang together: by transitions or by dependencies, never both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from flask_squidmesh.definition.declarations import Chain
from flask_squidmesh.definition.draft import Draft
from flask_squidmesh.definition.findings import Finding, described
from flask_squidmesh.definition.spec import COMPLETE

OUTCOMES: Final = ("ok", "error")


def entry_of(steps: Iterable[str], routes: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return the steps a run could start at: one in a correct workflow.

    They are those no transition leads to; when a loop leaves none, the first declared.
    """
    names = list(steps)
    entered = {target for _, _, target in routes}
    return [name for name in names if name not in entered] or names[:1]


def _written(draft: Draft) -> Iterator[Finding]:
    transitions = draft.written_transitions
    if not isinstance(transitions, (list, tuple)):
        yield Finding(
            "transitions",
            "",
            "invalid_transitions",
            "transitions is not a list; write transitions = [first >> second >> complete]",
        )
        return
    for place, chain in enumerate(transitions):
        if not isinstance(chain, Chain):
            yield Finding(
                "transitions",
                str(place),
                "invalid_transition",
                f"entry {place} of transitions is {described(chain)}; "
                "write a >> b, a.on_error(b) or transition(a, on='ok', to=b)",
            )


def _ends(draft: Draft) -> Iterator[Finding]:
    for link in draft.links:
        source, target = draft.step_name(link.source), draft.target_name(link.target)
        if source is None:
            towards = f" (to {target!r})" if target else ""
            yield Finding(
                "transitions",
                "",
                "unknown_source",
                f"a transition{towards} starts at what is no step of this class: "
                f"{described(link.source)}; start it at one of: {_listed(draft.steps)}",
            )
        if target is None:
            start = f" from {source!r}" if source else ""
            yield Finding(
                "transitions",
                source or "",
                "unknown_target",
                f"a transition{start} leads to what is no step of this class: "
                f"{described(link.target)}; lead it to complete or one of: {_listed(draft.steps)}",
            )


def _outcomes(draft: Draft) -> Iterator[Finding]:
    for link in draft.links:
        if not (isinstance(link.on, str) and link.on in OUTCOMES):
            source = draft.step_name(link.source) or "?"
            yield Finding(
                "transitions",
                source,
                "unknown_outcome",
                f"a transition from {source!r} has an outcome other than 'ok' and 'error'; "
                "use one of these two",
            )


def _one_route_per_outcome(draft: Draft) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for source, on in _departures(draft):
        if (source, on) in seen:
            yield Finding(
                "transitions",
                source,
                "duplicate_route",
                f"step {source!r} has more than one transition on {on!r}; keep one of them",
            )
        seen.add((source, on))


def _departures(draft: Draft) -> Iterator[tuple[str, str]]:
    """Yield (step, outcome) of every transition, also of those that lead nowhere."""
    for link in draft.links:
        source = draft.step_name(link.source)
        if source is not None and isinstance(link.on, str) and link.on in OUTCOMES:
            yield source, link.on


def _ok_routes(draft: Draft) -> Iterator[Finding]:
    departures = set(_departures(draft))
    for name, step in draft.steps.items():
        needed = OUTCOMES if step.kind == "approval" else OUTCOMES[:1]
        lacking = [on for on in needed if (name, on) not in departures]
        if not lacking:
            continue
        if step.kind == "approval":
            yield Finding(
                name,
                "",
                "approval_routes",
                f"approval {name!r} has no transition on {' and '.join(map(repr, lacking))}; it "
                f"needs both: {name} >> approved_step and {name}.on_error(rejected_step)",
            )
        else:
            yield Finding(
                name,
                "",
                "no_ok_route",
                f"step {name!r} leads nowhere when it succeeds; "
                f"write {name} >> next_step, or {name} >> complete if it is the last",
            )


def _one_entry(draft: Draft) -> Iterator[Finding]:
    entries = entry_of(draft.steps, draft.routes())
    if draft.links and len(entries) > 1:
        yield Finding(
            "transitions",
            "",
            "entry_step",
            f"no transition leads to {_listed(entries)}, but a run starts at exactly one step; "
            "the others can not be reached: lead transitions to them or remove them",
        )


def _reachable(draft: Draft) -> Iterator[Finding]:
    routes = draft.routes()
    following: dict[str, list[str]] = {name: [] for name in draft.steps}
    for source, _, target in routes:
        following[source].append(target)
    waiting = list(entry_of(draft.steps, routes))
    reached = set(waiting)
    while waiting:
        for target in following[waiting.pop()]:
            if target != COMPLETE and target not in reached:
                reached.add(target)
                waiting.append(target)
    for name in draft.steps:
        if draft.links and name not in reached:
            yield Finding(
                name,
                "",
                "unreachable_step",
                f"step {name!r} can not be reached from the entry step; "
                "lead a transition to it or remove it",
            )


def _not_mixed(draft: Draft) -> Iterator[Finding]:
    if draft.written_transitions:
        yield Finding(
            "transitions",
            "",
            "mixed_modes",
            "the class has transitions and steps with after=; "
            "use one of the two: after= says what a step waits for and needs no transitions",
        )


def _dependencies(draft: Draft) -> Iterator[Finding]:
    for name, step in draft.steps.items():
        after = step.after
        if after is None:
            continue
        if not isinstance(after, (list, tuple)) or not after:
            yield Finding(
                name,
                "after",
                "invalid_after",
                f"after of step {name!r} is not a list of steps, or empty; "
                "write after=[other_step], or leave it out for a step that starts at once",
            )
            continue
        for reference in after:
            if draft.dependency_name(reference) is None:
                what = repr(reference) if isinstance(reference, str) else described(reference)
                yield Finding(
                    name,
                    "after",
                    "unknown_dependency",
                    f"step {name!r} waits for what is no step of this class: {what}; "
                    f"use one of: {_listed(draft.steps)}",
                )
        known = draft.dependencies(name)
        if len(set(known)) < len(known):
            yield Finding(
                name, "after", "invalid_after", f"after of step {name!r} names a step twice"
            )
        if name in known:
            yield Finding(
                name,
                "after",
                "self_dependency",
                f"step {name!r} waits for itself and could never start; remove it from after",
            )


def _no_cycles(draft: Draft) -> Iterator[Finding]:
    waits_for = {
        name: [other for other in draft.dependencies(name) if other != name] for name in draft.steps
    }
    for cycle in _cycles(waits_for):
        path = " -> ".join((*cycle, cycle[0]))
        yield Finding(
            cycle[0],
            "after",
            "dependency_cycle",
            f"steps wait for each other and could never start: {path}; remove one of these",
        )


def _cycles(waits_for: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Yield cycles until every step is in one or proved free of them."""
    done: set[str] = set()
    for start in waits_for:
        # Depth first without recursion: a workflow may have more steps than Python has frames.
        path = [start]
        branches = [iter(waits_for[start])]
        while path:
            following = next((name for name in branches[-1] if name not in done), None)
            if following is None:
                done.add(path.pop())
                branches.pop()
            elif following in path:
                yield path[path.index(following) :]
            else:
                path.append(following)
                branches.append(iter(waits_for[following]))


def _no_decisions(draft: Draft) -> Iterator[Finding]:
    for name, step in draft.steps.items():
        if step.kind in ("pause", "approval"):
            yield Finding(
                name,
                "",
                f"{step.kind}_in_dependencies",
                f"{step.kind} {name!r} stands in a dependency workflow, where steps run side by "
                "side; use transitions instead of after=",
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


_Rule = Callable[[Draft], Iterator[Finding]]
_TRANSITION_RULES: Final[tuple[_Rule, ...]] = (
    _one_route_per_outcome,
    _ok_routes,
    _one_entry,
    _reachable,
)
_DEPENDENCY_RULES: Final[tuple[_Rule, ...]] = (
    _not_mixed,
    _no_decisions,
    _dependencies,
    _no_cycles,
)


def _by_mode(draft: Draft) -> Iterator[Finding]:
    for rule in _DEPENDENCY_RULES if draft.is_dependency else _TRANSITION_RULES:
        yield from rule(draft)


RULES: Final[tuple[_Rule, ...]] = (_written, _ends, _outcomes, _by_mode)

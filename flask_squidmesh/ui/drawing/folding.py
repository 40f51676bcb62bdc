"""Makes a graph small enough to be read: branches that are alike are one box with a count.

A fan-out of 10,000 branches says nothing more as 10,000 boxes. Steps that have
the same kind and the same surroundings are folded, with how many of them are in
which state; so are long stretches of a line in which all steps are in the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flask_squidmesh.types import GraphEdge, GraphNode
from flask_squidmesh.ui.drawing.layers import back_edges, depths

WIDE: Final = 6
"""So many branches that are alike are drawn one by one."""
LONG: Final = 40
"""So many boxes are drawn before stretches of a line are folded."""
STRETCH: Final = 4
"""The shortest stretch that is folded."""
ROUNDS: Final = 3
"""How far around a step is looked at to find those that are alike."""


@dataclass(frozen=True, slots=True)
class Box:
    """One step, or several that are drawn as one; `names` in the order of declaration."""

    names: tuple[str, ...]
    kind: str
    statuses: Mapping[str, int]
    visits: int
    current: bool

    @property
    def id(self) -> str:
        """The first name: no step is in two boxes."""
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Line:
    """All edges between two boxes; `routes` are the outcomes they are for, if any."""

    source: str
    target: str
    routes: tuple[str, ...]
    status: str


def fold(
    nodes: Sequence[GraphNode], edges: Sequence[GraphEdge]
) -> tuple[tuple[Box, ...], tuple[Line, ...]]:
    """Return what is drawn of a graph."""
    boxes = _boxes(nodes, _alike(nodes, edges))
    lines = _lines(edges, boxes)
    if len(boxes) > LONG:
        stretch_of = _stretches(boxes, lines)
        boxes = _joined(boxes, stretch_of)
        lines = _lines(edges, boxes)
    return tuple(boxes), tuple(lines)


def _alike(nodes: Sequence[GraphNode], edges: Sequence[GraphEdge]) -> dict[str, int]:
    """Return a number for each step; those with the same one look the same from outside."""
    names = [node.id for node in nodes]
    pairs = [(edge.from_, edge.to) for edge in edges]
    closing = back_edges(names, pairs)
    forward = [pair for number, pair in enumerate(pairs) if number not in closing]
    depth = depths(names, forward)
    height = depths(names[::-1], [(target, source) for source, target in forward])
    around: dict[str, list[tuple[str, bool, str | None]]] = {name: [] for name in names}
    for edge in edges:
        around[edge.from_].append((edge.to, True, edge.on))
        around[edge.to].append((edge.from_, False, edge.on))
    colours = _numbered({n.id: (n.kind, depth[n.id], height[n.id]) for n in nodes})
    for _ in range(ROUNDS):
        colours = _numbered(
            {
                name: (colours[name], frozenset((colours[o], out, on) for o, out, on in others))
                for name, others in around.items()
            }
        )
    return colours


def _numbered(looks: Mapping[str, object]) -> dict[str, int]:
    numbers: dict[object, int] = {}
    return {name: numbers.setdefault(look, len(numbers)) for name, look in looks.items()}


def _boxes(nodes: Sequence[GraphNode], colours: Mapping[str, int]) -> list[Box]:
    sizes = Counter(colours.values())
    groups: dict[object, list[GraphNode]] = {}
    for node in nodes:
        colour = colours[node.id]
        groups.setdefault(colour if sizes[colour] > WIDE else node.id, []).append(node)
    return [
        Box(
            names=tuple(node.id for node in group),
            kind=group[0].kind,
            statuses=Counter(node.status for node in group),
            visits=max(node.visits for node in group),
            current=any(node.current for node in group),
        )
        for group in groups.values()
    ]


def _lines(edges: Iterable[GraphEdge], boxes: Sequence[Box]) -> list[Line]:
    box_of = {name: box.id for box in boxes for name in box.names}
    is_single = {box.id: len(box.names) == 1 for box in boxes}
    routes: dict[tuple[str, str], list[str]] = {}
    statuses: dict[tuple[str, str], set[str]] = {}
    for edge in edges:
        pair = box_of[edge.from_], box_of[edge.to]
        if pair[0] == pair[1] and not is_single[pair[0]]:
            continue  # inside a folded stretch
        found = routes.setdefault(pair, [])
        if edge.on is not None and edge.on not in found:
            found.append(edge.on)
        statuses.setdefault(pair, set()).add(edge.status)
    return [
        Line(source, target, tuple(found), _telling(statuses[source, target]))
        for (source, target), found in routes.items()
    ]


def _telling(statuses: set[str]) -> str:
    """Return the status that says most about several edges drawn as one."""
    return next(s for s in ("selected", "pending", "skipped", "blocked") if s in statuses)


def _stretches(boxes: Sequence[Box], lines: Sequence[Line]) -> dict[str, str]:
    """Return for each box in a stretch of a line the box that begins the stretch."""
    after: dict[str, list[str]] = {box.id: [] for box in boxes}
    before: dict[str, list[str]] = {box.id: [] for box in boxes}
    for line in lines:
        after[line.source].append(line.target)
        before[line.target].append(line.source)
    by_id = {box.id: box for box in boxes}

    def goes_on(box: Box) -> Box | None:
        """Return the next box if both are nothing but parts of one line."""
        if len(after[box.id]) != 1:
            return None
        following = by_id[after[box.id][0]]
        is_plain = len(before[following.id]) == 1 and len(after[following.id]) <= 1
        is_same = following.statuses == box.statuses and following.kind == box.kind
        is_quiet = not (box.current or following.current or len(following.names) > 1)
        return following if is_plain and is_same and is_quiet and len(box.names) == 1 else None

    follows = {box.id: following for box in boxes if (following := goes_on(box)) is not None}
    inner = {following.id for following in follows.values()}
    found: dict[str, str] = {}
    for box in boxes:
        if box.id in inner:
            continue
        stretch = [box.id]
        while stretch[-1] in follows:
            stretch.append(follows[stretch[-1]].id)
        if len(stretch) >= STRETCH:
            found.update(dict.fromkeys(stretch, box.id))
    return found


def _joined(boxes: Sequence[Box], stretch_of: Mapping[str, str]) -> list[Box]:
    groups: dict[str, list[Box]] = {}
    for box in boxes:
        groups.setdefault(stretch_of.get(box.id, box.id), []).append(box)
    return [
        group[0]
        if len(group) == 1
        else Box(
            names=tuple(name for box in group for name in box.names),
            kind=group[0].kind,
            statuses=sum((Counter(box.statuses) for box in group), Counter()),
            visits=max(box.visits for box in group),
            current=False,
        )
        for group in groups.values()
    ]

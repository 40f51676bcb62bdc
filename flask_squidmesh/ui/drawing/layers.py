"""A layered layout of a directed graph: what follows stands below, with few crossings.

The method of Sugiyama, Tagawa and Toda ("Methods for Visual Understanding of
Hierarchical System Structures", IEEE Transactions on Systems, Man, and
Cybernetics 11, 1981), in its four steps: turn edges that close a loop around,
put every node one layer below the lowest it follows, order each layer by the
mean place of its neighbours, and move the nodes towards these neighbours as far
as the order allows.

Our own, because the libraries that do it start a program that may not be there
(Graphviz) or are not kept up. Pure: the same graph gives the same layout.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Edge = tuple[str, str]
Point = tuple[float, int]
"""How far to the right, in widths of a node, and the layer, 0 on top."""

SWEEPS: Final = 8
BEND_WIDTH: Final = 0.5
"""Room for an edge that passes through a layer, in widths of a node."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the nodes stand, and the points that each edge takes.

    `routes` are in the order of the edges; the route of an edge that leads
    back up (or to the node itself) has its two ends only.
    """

    places: Mapping[str, Point]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    depth: int


@dataclass(frozen=True, slots=True)
class _Bend:
    """Where an edge passes through a layer that it does not end in."""

    edge: int
    layer: int


_Slot = str | _Bend


def back_edges(nodes: Sequence[str], edges: Sequence[Edge]) -> set[int]:
    """Return the numbers of the edges that close a loop, met from the first node on."""
    outgoing: dict[str, list[tuple[int, str]]] = {node: [] for node in nodes}
    for number, (source, target) in enumerate(edges):
        outgoing[source].append((number, target))
    closing: set[int] = set()
    under_way: set[str] = set()
    done: set[str] = set()
    for start in nodes:
        if start in done:
            continue
        path = [(start, iter(outgoing[start]))]
        under_way.add(start)
        while path:
            node, following = path[-1]
            for number, target in following:
                if target in under_way:
                    closing.add(number)
                elif target not in done:
                    under_way.add(target)
                    path.append((target, iter(outgoing[target])))
                    break
            else:
                path.pop()
                under_way.discard(node)
                done.add(node)
    return closing


def depths(nodes: Sequence[str], edges: Iterable[Edge]) -> dict[str, int]:
    """Return the longest way to each node, in edges; there must be no loop."""
    outgoing: dict[str, list[str]] = {node: [] for node in nodes}
    missing = dict.fromkeys(nodes, 0)
    for source, target in edges:
        outgoing[source].append(target)
        missing[target] += 1
    depth = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not missing[node]]
    for node in ready:
        for target in outgoing[node]:
            depth[target] = max(depth[target], depth[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    return depth


def layered(nodes: Sequence[str], edges: Sequence[Edge]) -> Layout:
    """Return a layout of the graph; earlier nodes stand further up and left where they may."""
    if not nodes:
        return Layout({}, (), 0.0, 0)
    closing = back_edges(nodes, edges)
    layer_of = depths(nodes, [edge for n, edge in enumerate(edges) if n not in closing])
    layers: list[list[_Slot]] = [[] for _ in range(max(layer_of.values()) + 1)]
    for node in nodes:
        layers[layer_of[node]].append(node)
    routes: list[list[_Slot]] = []
    for number, (source, target) in enumerate(edges):
        bends: list[_Slot] = []
        if number not in closing:
            bends = [_Bend(number, n) for n in range(layer_of[source] + 1, layer_of[target])]
        for bend in bends:
            layers[bend.layer].append(bend)  # type: ignore[union-attr]  # all of them are
        routes.append([source, *bends, target])
    above, below = _neighbours(layers, [r for n, r in enumerate(routes) if n not in closing])
    layers = _ordered(layers, above, below)
    across = _placed(layers, above, below)
    leftmost = min(across.values())
    row = {slot: n for n, layer in enumerate(layers) for slot in layer}
    points: dict[_Slot, Point] = {slot: (x - leftmost, row[slot]) for slot, x in across.items()}
    return Layout(
        places={node: points[node] for node in nodes},
        routes=tuple(tuple(points[slot] for slot in route) for route in routes),
        width=max(x for x, _ in points.values()) + 1,
        depth=len(layers),
    )


_Neighbours = dict[_Slot, list[_Slot]]


def _neighbours(
    layers: list[list[_Slot]], routes: list[list[_Slot]]
) -> tuple[_Neighbours, _Neighbours]:
    above: _Neighbours = {slot: [] for layer in layers for slot in layer}
    below: _Neighbours = {slot: [] for layer in layers for slot in layer}
    for route in routes:
        for upper, lower in pairwise(route):
            below[upper].append(lower)
            above[lower].append(upper)
    return above, below


def _ordered(
    layers: list[list[_Slot]], above: _Neighbours, below: _Neighbours
) -> list[list[_Slot]]:
    best, fewest = layers, _crossings(layers, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        for number in range(len(layers)) if down else reversed(range(len(layers))):
            fixed = number - 1 if down else number + 1
            if 0 <= fixed < len(layers):
                _sort_by_neighbours(layers[number], layers[fixed], above if down else below)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _sort_by_neighbours(layer: list[_Slot], fixed: list[_Slot], neighbours: _Neighbours) -> None:
    place = {slot: n for n, slot in enumerate(fixed)}
    here = {slot: n for n, slot in enumerate(layer)}

    def mean(slot: _Slot) -> float:
        found = [place[other] for other in neighbours[slot]]
        return sum(found) / len(found) if found else here[slot]

    layer.sort(key=mean)


def _crossings(layers: list[list[_Slot]], below: _Neighbours) -> int:
    """Return how many pairs of edges cross between neighbouring layers."""
    total = 0
    for upper, lower in pairwise(layers):
        place = {slot: n for n, slot in enumerate(lower)}
        seen: list[int] = []
        for slot in upper:
            ends = sorted(place[other] for other in below[slot])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _placed(
    layers: list[list[_Slot]], above: _Neighbours, below: _Neighbours
) -> dict[_Slot, float]:
    """Return how far to the right each slot stands."""
    across: dict[_Slot, float] = {}
    for layer in layers:
        across.update(zip(layer, _spread(layer, [0.0] * len(layer)), strict=True))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = []
            for slot in layer:
                near = (above if down else below)[slot] or (below if down else above)[slot]
                xs = [across[other] for other in near]
                wanted.append(sum(xs) / len(xs) if xs else across[slot])
            across.update(zip(layer, _spread(layer, wanted), strict=True))
    return across


def _spread(layer: list[_Slot], wanted: list[float]) -> list[float]:
    """Return the places nearest to the wanted ones (least squares) that keep order and distance.

    By pooling adjacent violators: neighbours that are too near form a block,
    which stands at the mean of what its members want.
    """
    offsets = [0.0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + (_width(left) + _width(right)) / 2)
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        mean, size = want - offset, 1
        while blocks and blocks[-1][0] >= mean:
            before, count = blocks.pop()
            mean = (before * count + mean * size) / (count + size)
            size += count
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _width(slot: _Slot) -> float:
    return 1.0 if isinstance(slot, str) else BEND_WIDTH

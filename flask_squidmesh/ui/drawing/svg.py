"""Draws a folded, laid out graph as SVG: shapes, words and classes; the stylesheet has the rest.

No inline style and no script, so that the strictest Content-Security-Policy
allows it. What a state is, is said by a word and a sign, and only then by
colour. For those who do not see it, the picture is one image with a label; the
page has the same as a table.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from flask_squidmesh.types import RunGraph, WorkflowGraph
from flask_squidmesh.ui.drawing.folding import Box, Line, fold
from flask_squidmesh.ui.drawing.layers import Layout, Point, layered

SIGNS: Final = {
    "not_started": "○",
    "pending": "○",
    "waiting": "◷",
    "running": "▸",
    "paused": "‖",
    "retrying": "↻",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "⊘",
}
"""A sign for each status of a step, beside its word."""

MOST: Final = 150
"""So many boxes can still be read; a graph with more is not drawn."""

_BOX: Final = (184, 48)
_PITCH: Final = (212, 104)
_MARGIN: Final = 12
_LANE: Final = 20
_CHARACTERS: Final = 23
_PORTS: Final = {True: 64, False: 18}
"""How far apart lines leave a box, with words beside them and without."""


def draw(graph: WorkflowGraph | RunGraph, *, title: str) -> Markup:
    """Return the graph as an `<svg>` element, or a sentence where it has too many parts.

    Classes: `sm-graph`; `sm-node`, `sm-kind-KIND`, `sm-STATUS`, `sm-current`, `sm-many`;
    `sm-edge`, `sm-edge-STATUS`, `sm-line`, `sm-tip`, `sm-on`. *title* is what the picture shows.
    """
    boxes, lines = fold(graph.nodes, graph.edges)
    if len(boxes) > MOST:
        return Markup('<p class="sm-graph-none">{}</p>').format(
            f"This workflow has {len(graph.nodes)} steps, too many for a drawing; "
            "the table has all of them."
        )
    layout = layered([box.id for box in boxes], [(line.source, line.target) for line in lines])
    lanes = sum(_leads_back(layout, line) for line in lines)
    width = _MARGIN * 2 + (layout.width - 1) * _PITCH[0] + _BOX[0] + lanes * _LANE
    width += _LANE if lanes else 0
    height = _MARGIN * 2 + max(layout.depth - 1, 0) * _PITCH[1] + _BOX[1]
    picture = _Picture(boxes, lines, layout, has_happened=isinstance(graph, RunGraph))
    return Markup(
        '<svg class="sm-graph" role="img" aria-label="{label}" viewBox="0 0 {width} {height}" '
        'width="{width}" height="{height}" xmlns="http://www.w3.org/2000/svg">{parts}</svg>'
    ).format(
        label=f"{title}. {_summary(boxes) if picture.has_happened else _size(boxes)}",
        width=round(width),
        height=round(height),
        parts=Markup("").join([*picture.edges(), *picture.nodes()]),
    )


def _summary(boxes: Sequence[Box]) -> str:
    """Return in words how many steps are in which state, and which are current."""
    counts: dict[str, int] = {}
    for box in boxes:
        for status, count in box.statuses.items():
            if box.kind != "complete":
                counts[status] = counts.get(status, 0) + count
    states = ", ".join(f"{count} {_words(status)}" for status, count in counts.items())
    current = ", ".join(_name(box) for box in boxes if box.current)
    return f"{sum(counts.values())} steps: {states}." + (f" Now: {current}." if current else "")


def _size(boxes: Sequence[Box]) -> str:
    return f"{sum(len(box.names) for box in boxes if box.kind != 'complete')} steps."


def _words(status: str) -> str:
    return status.replace("_", " ")


def _name(box: Box) -> str:
    if len(box.names) == 1:
        return box.names[0]
    return f"{len(box.names):,} steps, {box.names[0]} … {box.names[-1]}"


def _leads_back(layout: Layout, line: Line) -> bool:
    return layout.places[line.target][1] <= layout.places[line.source][1]


class _Picture:
    """The elements of one drawing, in pixels."""

    def __init__(
        self, boxes: Sequence[Box], lines: Sequence[Line], layout: Layout, *, has_happened: bool
    ) -> None:
        self.has_happened = has_happened
        self._boxes = boxes
        self._lines = lines
        self._layout = layout
        self._leaving = self._ports(outgoing=True)
        self._arriving = self._ports(outgoing=False)

    def nodes(self) -> Iterator[Markup]:
        for box in self._boxes:
            x, y = self._corner(box.id)
            state = _state(box) if self.has_happened else _kind(box)
            yield Markup(
                '<g class="{classes}" transform="translate({x:.0f} {y:.0f})">'
                "<title>{title}</title>{shape}"
                '<text class="sm-name" x="{middle}" y="20">{name}</text>'
                '<text class="sm-state" x="{middle}" y="38">{state}</text></g>'
            ).format(
                classes=" ".join(_classes(box)),
                x=x,
                y=y,
                title=f"{_name(box)}: {_told(box) if self.has_happened else _kind(box)}",
                shape=_shape(box),
                middle=_BOX[0] // 2,
                name=_short(_heading(box)),
                state=_short(state, _CHARACTERS + 5),
            )

    def edges(self) -> Iterator[Markup]:
        lane = 0
        for number, line in enumerate(self._lines):
            if _leads_back(self._layout, line):
                lane += 1
                path, words = self._back(line, lane)
                tip = Markup("M{0:.1f} {1:.1f}l8 -4v8z").format(*self._side(line.target, back=True))
            else:
                points = self._points(number)
                path, words = _curve(points), _label(line, points)
                tip = Markup("M{0:.1f} {1:.1f}l-4 -8h8z").format(*points[-1])
            yield Markup(
                '<g class="sm-edge sm-edge-{status}"><path class="sm-line" d="{path}"/>'
                '<path class="sm-tip" d="{tip}"/>{words}</g>'
            ).format(status=line.status, path=path, tip=tip, words=words)

    def _corner(self, box: str) -> tuple[float, float]:
        x, layer = self._layout.places[box]
        return _MARGIN + x * _PITCH[0], _MARGIN + layer * _PITCH[1]

    def _side(self, box: str, *, back: bool) -> tuple[float, float]:
        """Return where a line that leads back leaves a box, or arrives, on its right."""
        x, y = self._corner(box)
        return x + _BOX[0], y + _BOX[1] * (0.35 if back else 0.65)

    def _ports(self, *, outgoing: bool) -> dict[int, float]:
        """Return by edge how far from a box's middle it begins or ends, from left to right."""
        meeting: dict[str, list[int]] = {}
        for number, line in enumerate(self._lines):
            if not _leads_back(self._layout, line):
                meeting.setdefault(line.source if outgoing else line.target, []).append(number)
        offsets: dict[int, float] = {}
        for numbers in meeting.values():
            has_words = outgoing and any(self._lines[n].routes for n in numbers)
            step = min(_PORTS[has_words], (_BOX[0] - 24) / len(numbers))
            numbers.sort(key=lambda n: self._layout.routes[n][1 if outgoing else -2][0])
            for place, number in enumerate(numbers):
                offsets[number] = (place - (len(numbers) - 1) / 2) * step
        return offsets

    def _points(self, number: int) -> list[tuple[float, float]]:
        route: tuple[Point, ...] = self._layout.routes[number]
        line = self._lines[number]
        x, y = self._corner(line.source)
        points = [(x + _BOX[0] / 2 + self._leaving[number], y + _BOX[1])]
        for across, layer in route[1:-1]:
            middle = _MARGIN + across * _PITCH[0] + _BOX[0] / 2
            top = _MARGIN + layer * _PITCH[1]
            points += [(middle, top), (middle, top + _BOX[1])]
        x, y = self._corner(line.target)
        return [*points, (x + _BOX[0] / 2 + self._arriving[number], y)]

    def _back(self, line: Line, lane: int) -> tuple[Markup, Markup]:
        x0, y0 = self._side(line.source, back=False)
        x1, y1 = self._side(line.target, back=True)
        right = _MARGIN + (self._layout.width - 1) * _PITCH[0] + _BOX[0] + 16 + lane * _LANE
        path = Markup("M{:.1f} {:.1f}H{:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}").format(
            x0, y0, right - 8, right, y0, right, y0 - 8
        ) + Markup("V{:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}H{:.1f}").format(
            y1 + 8, right, y1, right - 8, y1, x1 + 8
        )
        return path, _text(line, x0 + 4, y0 - 5)


def _curve(points: Sequence[tuple[float, float]]) -> Markup:
    """Return a path that leaves and arrives upright, and is straight where the line bends."""
    parts = [Markup("M{:.1f} {:.1f}").format(*points[0])]
    for number, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        if number % 2:
            parts.append(Markup("V{:.1f}").format(y1))
        else:
            middle = (y0 + y1) / 2
            parts.append(
                Markup("C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}").format(
                    x0, middle, x1, middle, x1, y1
                )
            )
    return Markup("").join(parts)


def _classes(box: Box) -> Iterator[str]:
    yield "sm-node"
    yield f"sm-kind-{box.kind}"
    yield f"sm-{_foremost(box)}"
    if box.current:
        yield "sm-current"
    if len(box.names) > 1:
        yield "sm-many"


def _foremost(box: Box) -> str:
    """Return the status to colour a box by: the one that asks most for attention."""
    order = ("failed", "paused", "retrying", "running", "waiting", "pending")
    return next((s for s in order if box.statuses.get(s)), next(iter(box.statuses)))


def _shape(box: Box) -> Markup:
    """Return the outline: steps are boxes, decisions have points, what waits is round."""
    width, height = _BOX
    plain = Markup('<rect class="sm-shape" width="{}" height="{}" rx="{}"/>')
    behind = Markup("")
    if len(box.names) > 1:
        behind = Markup('<rect class="sm-shape" x="5" y="5" width="{}" height="{}" rx="6"/>')
        behind = behind.format(width, height)
    if box.kind in ("approval", "pause"):
        points = f"0,24 14,0 {width - 14},0 {width},24 {width - 14},{height} 14,{height}"
        return behind + Markup('<polygon class="sm-shape" points="{}"/>').format(points)
    is_round = box.kind in ("wait", "complete")
    return behind + plain.format(width, height, height // 2 if is_round else 6)


def _heading(box: Box) -> str:
    return (
        box.names[0]
        if len(box.names) == 1
        else f"{len(box.names):,} \N{MULTIPLICATION SIGN} {box.names[0]} …"
    )


def _state(box: Box) -> str:
    """Return what a box says about itself, in little room."""
    if len(box.statuses) > 1:
        return "  ".join(f"{n:,} {SIGNS.get(s, s)}" for s, n in box.statuses.items())
    return _told(box)


def _kind(box: Box) -> str:
    return "the end" if box.kind == "complete" else box.kind


def _told(box: Box) -> str:
    """Return the state of a box in words."""
    if len(box.names) > 1:
        return ", ".join(f"{n:,} {SIGNS.get(s, '')} {_words(s)}" for s, n in box.statuses.items())
    (status,) = box.statuses
    if box.kind == "complete":
        return f"{SIGNS['completed']} reached" if status == "completed" else _kind(box)
    visits = f" \N{MULTIPLICATION SIGN}{box.visits}" if box.visits > 1 else ""
    kind = "" if box.kind == "step" else f"{box.kind} · "
    return f"{kind}{SIGNS.get(status, '')} {_words(status)}{visits}"


def _label(line: Line, points: Sequence[tuple[float, float]]) -> Markup:
    """Return the words of a line where it begins, on the side that it turns away from."""
    x, y = points[0]
    if points[-1][0] > x + 1 or points[1][0] > x + 1:
        return _text(line, x - 5, y + 19, "sm-on sm-before")
    return _text(line, x + 5, y + 19)


def _text(line: Line, x: float, y: float, classes: str = "sm-on") -> Markup:
    if not line.routes:
        return Markup("")
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        classes, x, y, ", ".join(line.routes)
    )


def _short(text: str, limit: int = _CHARACTERS) -> str:
    """Return as much of *text* as a box has room for; wide characters count twice."""
    room = limit
    for number, character in enumerate(text):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return text[: max(number - 1, 0)] + "…"
    return text

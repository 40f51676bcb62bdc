"""What is drawn of a graph: nothing overlaps, nothing is lost, nothing is markup of others."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.types import GraphEdge, GraphNode, RunGraph, WorkflowGraph
from flask_squidmesh.ui.drawing import draw
from flask_squidmesh.ui.drawing.folding import WIDE, fold
from flask_squidmesh.ui.drawing.layers import back_edges, layered
from flask_squidmesh.ui.drawing.svg import MOST

STATUSES = ("not_started", "pending", "waiting", "running", "paused", "retrying", "completed")
SVG = "{http://www.w3.org/2000/svg}"


def node(name, kind="step", status="not_started", visits=0, *, current=False):
    return GraphNode(name, kind, status, visits, current=current)


def edge(source, target, on=None, status="pending"):
    kind = "dependency" if on is None else "transition"
    return GraphEdge(f"{source}:{on or target}", source, target, kind, on, status)


def run_graph(nodes, edges):
    return RunGraph("id", "demo", "running", tuple(nodes), tuple(edges))


def wide(width, depth=1):
    """A root, `width` branches of `depth` steps each, and a join."""
    nodes, edges = [node("root")], []
    for branch in range(width):
        names = ["root", *(f"b{branch}_{level}" for level in range(depth)), "join"]
        nodes += [node(name) for name in names[1:-1]]
        edges += [edge(a, b) for a, b in pairwise(names)]
    return run_graph([*nodes, node("join")], edges)


def line(length, **special):
    names = [f"s{number}" for number in range(length)]
    return run_graph(
        [special.get(name, node(name)) for name in names],
        [edge(a, b, "ok") for a, b in pairwise(names)],
    )


@st.composite
def graphs(draw_from):
    count = draw_from(st.integers(1, 14))
    names = [f"n{number}" for number in range(count)]
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    edges = draw_from(st.lists(pairs, max_size=30, unique=True))
    return names, edges


@given(graphs())
def test_no_two_nodes_meet_and_what_follows_is_below(graph):
    names, edges = graph
    layout = layered(names, edges)
    assert set(layout.places) == set(names)
    by_layer: dict[int, list[float]] = {}
    for x, layer in layout.places.values():
        assert 0 <= x <= layout.width - 1 + 1e-9
        by_layer.setdefault(layer, []).append(x)
    for xs in by_layer.values():
        assert all(b - a >= 1 - 1e-9 for a, b in pairwise(sorted(xs)))
    closing = back_edges(names, edges)
    for number, (source, target) in enumerate(edges):
        route = layout.routes[number]
        assert (route[0], route[-1]) == (layout.places[source], layout.places[target])
        if number not in closing:
            assert [b[1] - a[1] for a, b in pairwise(route)] == [1] * (len(route) - 1)


@given(graphs())
def test_only_loops_lead_back(graph):
    names, edges = graph
    layout = layered(names, edges)
    back = {n for n, r in enumerate(layout.routes) if r[-1][1] <= r[0][1]}
    assert back == back_edges(names, edges)
    assert layered(names, edges) == layout


def test_order_is_changed_where_lines_would_cross():
    layout = layered(["a", "b", "c", "d"], [("a", "d"), ("b", "c")])
    assert layout.places["d"][0] < layout.places["c"][0]


@given(graphs(), st.data())
def test_every_step_is_in_one_box_with_its_status(graph, data):
    names, edges = graph
    nodes = [node(name, status=data.draw(st.sampled_from(STATUSES))) for name in names]
    boxes, lines = fold(nodes, [edge(a, b) for a, b in edges])
    assert sorted(name for box in boxes for name in box.names) == sorted(names)
    assert all(sum(box.statuses.values()) == len(box.names) for box in boxes)
    ids = {box.id for box in boxes}
    assert all(line.source in ids and line.target in ids for line in lines)


@pytest.mark.parametrize(("width", "depth"), [(WIDE, 1), (WIDE + 1, 1), (2000, 1), (500, 3)])
def test_branches_that_are_alike_are_one_box(width, depth):
    graph = wide(width, depth)
    boxes, _ = fold(graph.nodes, graph.edges)
    assert len(boxes) == 2 + (width * depth if width <= WIDE else depth)


def test_steps_at_different_places_of_a_line_are_not_alike():
    graph = line(30)
    boxes, _ = fold(graph.nodes, graph.edges)
    assert len(boxes) == 30


def test_long_line_is_folded_around_where_the_run_is():
    current = node("s500", status="running", visits=1, current=True)
    graph = line(1000, s500=current)
    boxes, lines = fold(graph.nodes, graph.edges)
    assert [len(box.names) for box in boxes] == [500, 1, 499]
    assert [(item.source, item.target) for item in lines] == [("s0", "s500"), ("s500", "s501")]


@given(graphs(), st.text(max_size=40), st.data())
def test_drawing_is_well_formed_and_follows_the_strictest_policy(graph, text, data):
    names, edges = graph
    called = {name: f"{name}{text}" for name in names}
    nodes = [node(called[n], status=data.draw(st.sampled_from(STATUSES)), visits=1) for n in names]
    drawn = draw(run_graph(nodes, [edge(called[a], called[b], "ok") for a, b in edges]), title=text)
    allowed = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", str(drawn))
    root = ET.fromstring(allowed)  # noqa: S314  # our own
    elements = list(root.iter())
    assert {e.tag for e in elements} <= {
        f"{SVG}{tag}" for tag in ("svg", "g", "title", "text", "path", "rect", "polygon")
    }
    for element in elements:
        assert not [key for key in element.keys() if key == "style" or key.startswith("on")]  # noqa: SIM118
    assert root.get("role") == "img"
    assert root.get("aria-label")


def test_state_is_said_in_words():
    nodes = [node("ask", "approval", "paused", 2, current=True), node("complete", "complete")]
    drawn = str(draw(run_graph(nodes, [edge("ask", "complete", "ok")]), title="Graph"))
    assert "approval · ‖ paused \N{MULTIPLICATION SIGN}2" in drawn
    assert "1 paused. Now: ask." in drawn
    assert 'class="sm-node sm-kind-approval sm-paused sm-current"' in drawn


def test_declared_workflow_says_kinds_and_no_states():
    graph = WorkflowGraph("demo", None, (node("ask", "approval"),), ())
    drawn = str(draw(graph, title="Graph"))
    assert ">approval</text>" in drawn
    assert "not started" not in drawn


def test_ten_thousand_branches_are_summarised():
    drawn = str(draw(wide(10_000), title="Graph"))
    assert len(drawn) < 5_000
    assert "10,000" in drawn


def test_graph_that_nobody_could_read_is_not_drawn():
    names = [f"n{number}" for number in range(MOST + 1)]
    edges = [edge(a, b) for n, a in enumerate(names) for b in names[n + 1 : n + 1 + n % 5]]
    drawn = str(draw(run_graph([node(n) for n in names], edges), title="Graph"))
    assert "<svg" not in drawn
    assert f"{MOST + 1} steps" in drawn


def test_names_that_are_too_long_are_cut_and_whole_in_the_title():
    name = "x" * 300
    drawn = draw(run_graph([node(name)], []), title="Graph")
    root = ET.fromstring(str(drawn))  # noqa: S314  # our own
    assert name in next(e.text or "" for e in root.iter(f"{SVG}title"))
    shown = next(e.text or "" for e in root.iter(f"{SVG}text"))
    assert len(shown) < 30
    assert shown.endswith("…")

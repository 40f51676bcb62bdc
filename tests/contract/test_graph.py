"""`inspect_run_graph`: the graph a run follows, with the state of its steps and edges."""

from __future__ import annotations

import json
import re

import pytest

from flask_squidmesh import (
    GraphEdge,
    GraphNode,
    Retry,
    RunGraph,
    Workflow,
    approval,
    complete,
    fixed,
    manual,
    pause,
    step,
    wait,
)
from flask_squidmesh.testing import deliver
from tests.contract.host import make_world

LINE = re.compile(
    r"""
    flowchart\ TD
    | \ {4}n\d+\["[^"<>]*<br/>[^"<>]*"\]:::[a-z_]+           # a node, its label, its state
    | \ {4}n\d+\ (==>|-\.->)(\|(ok|error)\|)?\ n\d+          # an edge
    | \ {4}classDef\ [a-z_]+\ [a-z:#0-9,]+
    | \ {4}style\ n\d+\ stroke-width:4px
    """,
    re.VERBOSE,
)


def fail():
    raise OSError("down")


class Shop(Workflow):
    go = manual()
    load = step(lambda: None)
    rest = wait(seconds=60)
    review = approval()
    ship = step(lambda: None)
    refund = step(lambda: None)
    transitions = [
        load >> rest >> review >> ship >> complete,
        load.on_error(refund),
        review.on_error(refund),
        refund >> complete,
    ]


class Fan(Workflow):
    go = manual()
    load = step(lambda: None)
    left = step(lambda: None, after=[load])
    right = wait(seconds=60, after=[load])
    join = step(lambda: None, after=[left, right])


def graph(world, run_id):
    return world.squidmesh.inspect_run_graph(run_id)


def nodes(found):
    """Return the states of the nodes, the current ones with a star."""
    return {node.id: node.status + "*" * node.current for node in found.nodes}


def edges(found):
    return {edge.id: edge.status for edge in found.edges}


def test_document_has_the_fields_of_the_contract(world, clock):
    run = world.run(Shop)
    document = graph(world, run.id).to_dict()
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {"run_id", "workflow", "status", "nodes", "edges"}
    assert document["nodes"][1] == {
        "id": "rest",
        "kind": "wait",
        "status": "waiting",
        "visits": 1,
        "current": True,
    }
    assert document["edges"][0] == {
        "id": "load:ok",
        "from": "load",
        "to": "rest",
        "type": "transition",
        "on": "ok",
        "status": "selected",
    }


def test_dependency_edges_have_no_outcome(world, clock):
    run = world.run(Fan)
    document = graph(world, run.id).to_dict()
    assert document["edges"][0] == {
        "id": "load:left",
        "from": "load",
        "to": "left",
        "type": "dependency",
        "on": None,
        "status": "selected",
    }


def test_run_that_has_not_begun_has_everything_before_it(world):
    found = graph(world, world.start(Shop))
    assert nodes(found) == {
        "load": "pending*",
        "rest": "not_started",
        "review": "not_started",
        "ship": "not_started",
        "refund": "not_started",
        "complete": "not_started",
    }
    assert set(edges(found).values()) == {"pending"}


def test_routes_that_were_taken_and_routes_that_were_not(world, clock):
    run = world.run(Shop, advance=True)
    found = graph(world, run.id)
    assert nodes(found) == {
        "load": "completed",
        "rest": "completed",
        "review": "paused*",
        "ship": "not_started",
        "refund": "not_started",
        "complete": "not_started",
    }
    assert edges(found) == {
        "load:ok": "selected",
        "rest:ok": "selected",
        "review:ok": "pending",
        "ship:ok": "pending",
        "load:error": "skipped",
        "review:error": "pending",
        "refund:ok": "pending",
    }


def test_end_of_the_run_is_a_node_that_was_reached(world, clock):
    run = world.run(Shop, advance=True)
    world.squidmesh.reject_run(run.id, actor="ada")
    world.go(run.id)
    found = graph(world, run.id)
    assert nodes(found)["complete"] == "completed"
    assert [node.visits for node in found.nodes] == [1, 1, 1, 0, 1, 1]
    assert edges(found) == {
        "load:ok": "selected",
        "rest:ok": "selected",
        "review:ok": "skipped",
        "ship:ok": "blocked",
        "load:error": "skipped",
        "review:error": "selected",
        "refund:ok": "selected",
    }


def test_routes_behind_a_failure_are_blocked(world):
    class Failing(Workflow):
        go = manual()
        work = step(fail)
        after = step(lambda: None)
        transitions = [work >> after >> complete]

    run = world.run(Failing)
    found = graph(world, run.id)
    assert (found.status, nodes(found)["work"]) == ("failed", "failed")
    assert edges(found) == {"work:ok": "blocked", "after:ok": "blocked"}


def test_routes_of_a_cancelled_run_are_blocked(world, clock):
    run = world.run(Shop)
    world.squidmesh.cancel_run(run.id)
    found = graph(world, run.id)
    assert nodes(found)["rest"] == "cancelled"
    assert edges(found)["rest:ok"] == "blocked"
    assert edges(found)["load:ok"] == "selected"


def test_step_that_waits_for_its_retry_is_current(world, clock):
    class Retrying(Workflow):
        go = manual()
        work = step(fail, retry=Retry(2, fixed(9)))
        transitions = [work >> complete]

    run = world.run(Retrying)
    found = graph(world, run.id)
    assert (found.status, nodes(found)["work"]) == ("retrying", "retrying*")


def test_loop_counts_its_visits_and_shows_where_it_is(world):
    class Loop(Workflow):
        go = manual()
        work = step(lambda visits=0: {"visits": visits + 1})
        turn = step(lambda visits: fail() if visits > 2 else None)
        hold = pause()
        transitions = [work >> turn >> work, turn.on_error(hold), hold >> complete]

    run_id = world.start(Loop)
    for name in ("work", "turn", "work"):
        deliver(run_id, name)
    found = graph(world, run_id)
    assert [(node.id, node.visits) for node in found.nodes][:3] == [
        ("work", 2),
        ("turn", 2),
        ("hold", 0),
    ]
    assert nodes(found)["turn"] == "pending*"
    # What was taken once stays so; what has not been taken may still be.
    assert edges(found) == {
        "work:ok": "selected",
        "turn:ok": "selected",
        "turn:error": "pending",
        "hold:ok": "pending",
    }
    run = world.go(run_id)
    assert (run.status, nodes(graph(world, run_id))["hold"]) == ("paused", "paused*")
    assert edges(graph(world, run_id))["turn:error"] == "selected"


def test_dependency_workflow_has_an_edge_for_each_dependency(world, clock):
    run = world.run(Fan)
    found = graph(world, run.id)
    assert nodes(found) == {
        "load": "completed",
        "left": "completed",
        "right": "waiting*",
        "join": "not_started",
    }
    assert edges(found) == {
        "load:left": "selected",
        "load:right": "selected",
        "left:join": "selected",
        "right:join": "pending",
    }
    world.go(run.id, advance=True)
    assert set(edges(graph(world, run.id)).values()) == {"selected"}


def test_dependencies_behind_a_failure_are_blocked(world):
    class Failing(Workflow):
        go = manual()
        bad = step(fail)
        good = step(lambda: None)
        join = step(lambda: None, after=[bad, good])

    run = world.run(Failing)
    assert edges(graph(world, run.id)) == {"bad:join": "blocked", "good:join": "blocked"}


# Without the code.


@pytest.mark.parametrize("workflow", [Shop, Fan])
def test_graph_needs_no_code(world, url, clock, workflow):
    run = world.run(workflow)
    known = graph(world, run.id)
    with make_world(url) as other:
        assert graph(other, run.id) == known
        assert graph(other, run.id).to_mermaid() == known.to_mermaid()


def test_graph_is_that_of_the_definition_the_run_was_started_with(world, url, clock):
    class Newer(Workflow):
        name = "shop"
        go = manual()
        only = step(lambda: None)
        transitions = [only >> complete]

    run = world.run(Shop)
    known = graph(world, run.id)
    with make_world(url) as newer:
        newer.squidmesh.register(Newer)
        assert graph(newer, run.id) == known


# Mermaid.


@pytest.mark.parametrize("workflow", [Shop, Fan])
@pytest.mark.parametrize("advance", [False, True])
def test_mermaid_has_a_line_for_each_node_and_edge(world, clock, workflow, advance):
    run = world.run(workflow, advance=advance)
    found = graph(world, run.id)
    text = found.to_mermaid()
    lines = text.removesuffix("\n").split("\n")
    assert lines[0] == "flowchart TD"
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert sum("[" in line for line in lines) == len(found.nodes)
    assert sum("==>" in line for line in lines) == sum(
        edge.status == "selected" for edge in found.edges
    )
    assert sum("-.->" in line for line in lines) == sum(
        edge.status != "selected" for edge in found.edges
    )


def test_mermaid_tells_states_in_words(world, clock):
    text = graph(world, world.run(Shop).id).to_mermaid()
    assert 'n1["rest<br/>wait: waiting"]:::waiting' in text
    assert "n0 ==>|ok| n1" in text
    assert "style n1 stroke-width:4px" in text


@pytest.mark.parametrize(
    "name", ['a"]; click n0 callback', "<script>alert(1)</script>", "a\nb", "#quot;", "`md`", "a|b"]
)
def test_mermaid_takes_no_name_for_markup(name):
    found = RunGraph(
        run_id="r",
        workflow="w",
        status="running",
        nodes=(GraphNode(name, "step", "running", 1, current=True),),
        edges=(GraphEdge("e", name, name, "transition", "ok", "pending"),),
    )
    lines = found.to_mermaid().removesuffix("\n").split("\n")
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    label = re.search(r'\["(.*)<br/>', lines[1])
    assert label is not None
    shown = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label[1])
    assert shown == name

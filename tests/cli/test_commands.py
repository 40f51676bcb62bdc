"""Every command: it has help with an example, does what it says, and refuses with a sentence."""

from __future__ import annotations

import json

import pytest

from flask_squidmesh.cli import squidmesh_cli
from flask_squidmesh.testing import run_until_idle
from tests.cli.workflows import Fan, Flaky, Hold, Nap, Purchase, Refused
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def databases(sqlite_databases: Databases) -> Databases:
    """One kind is enough: commands print what the layers below return on every database."""
    return sqlite_databases


OWN = sorted(
    name
    for name, command in squidmesh_cli.commands.items()
    if command.callback is not None and ".cli." in command.callback.__module__
)


def paused(world):
    run_id = world.start(Purchase, {"item": "a book"})
    run_until_idle()
    return run_id


# Help.


def test_all_commands_of_the_contract_exist():
    assert set(squidmesh_cli.commands) == {
        *("install", "check", "workflows", "graph", "start", "runs", "inspect", "explain"),
        *("approve", "reject", "unblock", "cancel", "replay", "watch", "worker", "tick", "dev"),
    }


@pytest.mark.parametrize("name", OWN)
def test_help_has_an_example_of_the_command(name):
    text = squidmesh_cli.commands[name].help or ""
    assert f"flask squidmesh {name}" in text.partition("Example")[2]


@pytest.mark.parametrize("name", OWN)
def test_every_option_says_what_it_is_for(name):
    options = [each.to_info_dict() for each in squidmesh_cli.commands[name].params]
    mute = [o["name"] for o in options if o["param_type_name"] == "option" and not o["help"]]
    assert mute == []


@pytest.mark.parametrize("name", [name for name in OWN if name != "install"])
def test_every_command_speaks_json(name):
    assert "--json" in {flag for each in squidmesh_cli.commands[name].params for flag in each.opts}


def test_help_needs_no_context(world):
    assert world.app.test_cli_runner().invoke(args=["squidmesh", "runs", "--help"]).exit_code == 0


# Starting.


def test_start_starts_a_run_and_says_how_to_follow_it(world, shell):
    said = shell.does("start", "purchase", "--payload", '{"item": "tea"}')
    (run,) = world.squidmesh.list_runs()
    assert said.splitlines() == [
        f"Run {run.id} of purchase is pending.",
        f"Follow it: flask squidmesh watch {run.id}",
    ]
    assert (run.payload, run.trigger) == ({"item": "tea", "price": 1}, "buy")


def test_start_takes_trigger_and_prints_the_run(world, shell):
    arguments = ("start", "purchase", "--trigger", "gift", "--payload", '{"item": "tea"}')
    document = shell.document(*arguments)
    assert document == world.squidmesh.inspect_run(document["id"]).to_dict()
    assert document["trigger"] == "gift"


def test_payload_may_come_from_the_standard_input(world, shell):
    shell.does("start", "purchase", "--payload", "-", input='{"item": "from afar"}')
    assert world.squidmesh.list_runs()[0].payload["item"] == "from afar"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("start", "purchace"), ["purchace", "purchase", "flask squidmesh workflows"]),
        (("start", "purchase", "--trigger", "x"), ["no trigger 'x'", "buy, gift"]),
        (("start", "purchase"), ["item", "correct these fields"]),
        (("start", "purchase", "--payload", "[1]"), ["payload was refused"]),
        (("start", "purchase", "--payload", '{"item": "a", "no": 1}'), ["no: ", "Unknown field"]),
    ],
)
def test_refused_starts_start_nothing(world, shell, arguments, words):
    said = shell.refuses(*arguments)
    assert [word for word in words if word not in said] == []
    assert world.count_runs() == 0


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "NaN", "[" * 100_000, '{"a": Infinity}'])
def test_what_is_not_json_is_wrong_usage(world, shell, text):
    said = shell.refuses("start", "purchase", "--payload", text, code=2)
    assert "not JSON" in said
    assert world.count_runs() == 0


# Deciding.


def test_approve_takes_the_ok_route_and_keeps_what_was_said(world, shell):
    run_id = paused(world)
    metadata = '{"ticket": 42}'
    said = shell.does(
        *("approve", run_id, "--actor", "jane", "--comment", "fine", "--metadata", metadata)
    )
    assert said == f"Approved: run {run_id} of purchase is running, at deliver.\n"
    (event,) = (e for e in world.see(run_id).audit_events or () if e.type == "approved")
    assert (event.actor, event.comment, event.metadata) == ("jane", "fine", {"ticket": 42})


def test_reject_takes_the_error_route(world, shell):
    document = shell.document("reject", paused(world), "--actor", "jane")
    assert (document["status"], document["current_step"]) == ("running", "apologise")


def test_unblock_lets_a_run_go_on(world, shell):
    run_id = world.start(Hold)
    run_until_idle()
    said = shell.does("unblock", run_id, "--comment", "go")
    assert said == f"Unblocked: run {run_id} of hold is running, at work.\n"


def test_cancel_ends_a_run(world, shell):
    run_id = paused(world)
    document = shell.document("cancel", run_id, "--actor", "jane", "--comment", "sent twice")
    assert document == world.squidmesh.inspect_run(run_id).to_dict()
    assert document["status"] == "cancelled"


def test_replay_starts_another_run(world, shell):
    run_id = paused(world)
    document = shell.document("replay", run_id, "--actor", "jane")
    assert (document["replayed_from_run_id"], document["status"]) == (run_id, "pending")
    assert document["id"] != run_id


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("unblock",), ["'approval'", "flask squidmesh approve"]),
        (("approve",), ["actor must be", "--actor"]),
        (("approve", "--actor", " "), ["actor must be", "--actor"]),
        (("reject", "--actor", "j", "--comment", ""), ["comment must be"]),
        (("reject", "--actor", "j", "--metadata", "[]"), ["metadata must be a mapping"]),
    ],
)
def test_refused_decisions_change_nothing(world, shell, arguments, words):
    run_id = paused(world)
    before = world.see(run_id)
    said = shell.refuses(arguments[0], run_id, *arguments[1:])
    assert [word for word in words if word not in said] == []
    assert world.see(run_id) == before


def test_late_decision_says_what_is_possible_now(world, shell):
    run_id = paused(world)
    shell.does("approve", run_id, "--actor", "jane")
    said = shell.refuses("reject", run_id, "--actor", "joe")
    assert said.splitlines()[0].startswith("Error: cannot reject a run that is running")
    assert "flask squidmesh explain RUN" in said


# Reading.


def test_runs_lists_runs_newest_first(world, shell):
    first, second = world.start(Nap), paused(world)
    lines = shell.does("runs").splitlines()
    assert lines[0].split() == ["RUN", "WORKFLOW", "STATUS", "STEP", "CREATED", "TRIGGER"]
    assert lines[1].split()[:4] == [second, "purchase", "paused", "decide"]
    assert lines[2].split()[:4] == [first, "nap", "running", "nap"]
    places = [line.index(at) for line, at in zip(lines, ("STATUS", "paused", "run"), strict=True)]
    assert len(set(places)) == 1


def test_runs_takes_the_filters_of_list_runs_and_pages(world, shell):
    for _ in range(3):
        world.start(Nap)
    paused(world)
    assert shell.document("runs") == world.squidmesh.list_runs().to_dict()
    filters = {"workflow": "nap", "status": "running", "trigger": "go", "limit": 2}
    given = [word for name, value in filters.items() for word in (f"--{name}", str(value))]
    page = world.squidmesh.list_runs(**filters)
    assert shell.document("runs", *given) == page.to_dict()
    assert page.next is not None
    rest = shell.document("runs", *given, "--after", page.next)
    assert (len(rest["items"]), rest["next"]) == (1, None)
    assert f"--after {page.next}" in shell.does("runs", *given)


def test_no_runs_is_a_sentence_for_people_and_a_list_for_programs(shell):
    assert shell.does("runs") == "No runs.\n"
    assert shell.document("runs") == {"items": [], "next": None}


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "--limit", "0"),
        ("runs", "--limit", "501"),
        ("runs", "--status", "done"),
        ("runs", "--after", "nonsense"),
        ("runs", "--colour", "red"),
        ("inspect",),
        ("graph",),
        ("start",),
        ("inspect", "a", "b"),
        ("nonsense",),
    ],
)
def test_wrong_usage_exits_with_2(shell, arguments):
    assert "Usage:" in shell.refuses(*arguments, code=2)


def test_inspect_shows_steps_attempts_and_decisions(world, shell):
    run_id = paused(world)
    shell.does("approve", run_id, "--actor", "jane", "--comment", "fine")
    run_until_idle()
    document = shell.document("inspect", run_id)
    assert document == world.see(run_id).to_dict()
    text = shell.does("inspect", run_id)
    assert text.startswith(f"Run {run_id} of purchase is completed\n")
    for pattern in ('payload   {"item": "a book", "price": 1}', "version   7", "apologise"):
        assert pattern in text
    approved = next(line for line in text.splitlines() if line.startswith("approved"))
    assert approved.split()[-2:] == ["jane", "fine"]


def test_what_is_stored_can_not_steer_the_terminal(world, shell):
    run_id = world.start(Flaky)
    run_until_idle(advance=True)
    nasty = shell("start", "purchase", "--payload", '{"item": "\\u001b[2J\\n\\u202e\\ud800"}')
    assert nasty.code == 0
    everything = [shell.does(name, run_id) for name in ("inspect", "explain")]
    everything += [shell.does("runs"), shell.does("inspect", nasty.out.split()[1])]
    assert not any("\x1b" in text or "\u202e" in text for text in everything)
    assert "\\x1b[31m" in everything[0]


def test_explain_says_why_and_what_can_be_done(world, shell):
    run_id = paused(world)
    assert shell.document("explain", run_id) == world.squidmesh.explain_run(run_id).to_dict()
    assert shell.does("explain", run_id).splitlines() == [
        f"Run {run_id} is paused.",
        (
            "  decide: it waits for a decision; approved it goes to deliver, rejected to "
            "apologise [paused_for_approval]"
        ),
        "What can be done:",
        f"  flask squidmesh approve {run_id} --actor NAME",
        f"  flask squidmesh reject {run_id} --actor NAME",
        f"  flask squidmesh cancel {run_id}",
    ]


@pytest.mark.parametrize(
    ("workflow", "advance", "words"),
    [
        (Nap, False, ["nap: its timer ends at ", "[waiting_until]", "cancel"]),
        (Hold, False, ["it waits for somebody to unblock it; then comes work", "unblock"]),
        (Flaky, False, ["attempt 2 begins at", "exception: no route", "[waiting_for_retry]"]),
        (Flaky, True, ["all 2 attempts failed", "[retry_exhausted]", "replay"]),
        (Refused, False, ["it failed: refused: the bank said no [step_failed]", "replay"]),
        (Nap, True, ["everything is done [completed]", "replay"]),
    ],
)
def test_explain_has_a_sentence_for_where_a_run_stands(world, shell, workflow, advance, words):
    run_id = world.start(workflow)
    run_until_idle(advance=advance)
    said = shell.does("explain", run_id)
    assert [word for word in words if word not in said] == []


def test_explain_tells_of_every_step_of_a_dependency_workflow(world, shell):
    said = shell.does("explain", world.start(Fan))
    assert "left: it is ready, and waits for a worker [pending_dispatch]" in said
    assert "both: it begins when these have completed: left (pending), right (pending)" in said


def test_explain_has_a_sentence_for_every_reason():
    from flask_squidmesh.cli.words import _SENTENCES
    from flask_squidmesh.engine.explain import ACTIONS

    assert set(_SENTENCES) == set(ACTIONS)


# Workflows and graphs.


def test_workflows_lists_names_triggers_steps_and_the_next_time(world, shell):
    lines = [line.split() for line in shell.does("workflows").splitlines()]
    (row,) = (line for line in lines if line[0] == "digest")
    assert row[1:8] == ["nightly:", "30", "2", "*", "*", "*", "Europe/Berlin"]
    assert row[9].endswith(":30:00Z")
    assert ["purchase", "7", "buy", "price_it,", "decide,", "deliver,", "apologise"] in lines
    assert ["gift"] in lines


def test_next_time_is_the_stored_one_once_a_ticker_has_seen_the_trigger(world, shell):
    from flask_squidmesh.testing import freeze, tick

    with freeze() as clock:
        tick()
        stored = next_of(shell)
        clock.advance(seconds=3 * 86_400)
        # Nobody has ticked: the window has come and is still to be started.
        assert next_of(shell) == stored
        tick()
        assert next_of(shell) > stored


def next_of(shell):
    (row,) = (line for line in shell.does("workflows").splitlines() if "nightly" in line)
    return row.split()[8:10]


def test_workflows_for_programs_are_their_definitions(shell):
    names = ["digest", "fan", "flaky", "hold", "nap", "purchase", "refused"]
    document = shell.document("workflows")
    assert [item["name"] for item in document["items"]] == names
    assert document["items"][5] == Purchase.definition.to_dict()
    assert document["next"] is None


def test_graph_of_a_workflow_is_mermaid_without_states(shell):
    text = shell.does("graph", "purchase")
    assert text.startswith("flowchart TD\n")
    assert 'n0["price_it<br/>step"]' in text
    assert "n1 -->|error| n3" in text
    assert "not_started" not in text


def test_graph_of_a_run_has_its_states(world, shell):
    run_id = paused(world)
    assert shell.does("graph", run_id) == world.squidmesh.inspect_run_graph(run_id).to_mermaid()
    document = shell.document("graph", run_id[:20])
    assert document == world.squidmesh.inspect_run_graph(run_id).to_dict()


def test_graph_of_a_dependency_workflow_for_programs(shell):
    document = shell.document("graph", "fan")
    assert [edge["id"] for edge in document["edges"]] == ["left:both", "right:both"]
    assert document["workflow"] == "fan"


def test_graph_of_nothing_names_the_workflows(shell):
    for text in ("nothing", "0123abcd"):
        said = shell.refuses("graph", text)
        assert "neither a registered workflow" in said
        assert "purchase" in said


def test_documents_are_plain_ascii_whatever_is_in_them(world, shell):
    run_id = world.start(Purchase, {"item": "Tee für \U0001f991"})
    out = shell.does("inspect", run_id, "--json")
    assert out.isascii()
    assert json.loads(out)["payload"]["item"] == "Tee für \U0001f991"

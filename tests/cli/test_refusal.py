"""An application that can not be created: every `flask` command says why, in a sentence."""

from __future__ import annotations

import pickle
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup, ScriptInfo

from flask_squidmesh import ConfigError, SquidMesh, Workflow
from flask_squidmesh.cli import squidmesh_cli

ROOT = Path(__file__).parents[2]
SLIP = (
    "Error: flask_squidmesh is not configured correctly:\n"
    "- SQUIDMESH_QUEU = 'x': no such setting; did you mean SQUIDMESH_QUEUE?\n"
)


def create_app_with_a_slip():
    app = Flask("shop")
    app.config["SQUIDMESH_QUEU"] = "x"
    SquidMesh(app)
    return app


def flask(create_app, *arguments: str) -> Result:
    """Type `flask ...`, where our commands are known as the entry point makes them known."""
    group = FlaskGroup(create_app=create_app)
    group.add_command(squidmesh_cli)
    return CliRunner().invoke(group, arguments)


def test_commands_are_known_without_the_application():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["flask.commands"].items()
    assert name == "squidmesh"
    assert EntryPoint(name, value, "flask.commands").load() is squidmesh_cli
    # So that help is there, whatever is wrong with the application.
    said = flask(create_app_with_a_slip, "squidmesh", "--help")
    assert (said.exit_code, "Look for mistakes in the set-up" in said.output) == (0, True)


@pytest.mark.parametrize(
    "command",
    ["squidmesh check", "squidmesh install", "db upgrade", "run", "routes", "shell", "their own"],
)
def test_setting_that_is_not_valid_ends_the_command_with_what_to_do(command):
    said = flask(create_app_with_a_slip, *command.split())
    assert (said.exit_code, said.stdout, said.stderr) == (1, "", SLIP)


def test_workflows_that_can_not_be_loaded_end_the_command_with_what_to_do():
    def create_app():
        app = Flask("shop")
        app.config["SQUIDMESH_WORKFLOWS"] = ["shop.workflos"]
        SquidMesh(app)

    said = flask(create_app, "routes")
    assert said.exit_code == 1
    assert said.stderr.startswith("Error: flask_squidmesh is not configured correctly:\n")
    assert "no such module; check the spelling" in said.stderr


def test_factory_gets_the_same_error_within_a_command():
    caught = []

    def create_app():
        try:
            return create_app_with_a_slip()
        except ConfigError as error:
            caught.append(pickle.loads(pickle.dumps(error)))  # noqa: S301  # our own
            raise

    assert flask(create_app, "routes").exit_code == 1
    with pytest.raises(ConfigError) as usual:
        create_app_with_a_slip()
    (within,) = caught
    assert type(usual.value) is ConfigError
    assert (vars(within), str(within)) == (vars(usual.value), str(usual.value))
    assert within.invalid == {"SQUIDMESH_QUEU": "x"}


def test_error_is_raised_as_it_is_within_the_commands_of_others():
    # Such as `celery worker`: not every command line is Flask's.
    with click.Context(click.Command("celery")), pytest.raises(ConfigError) as error:
        create_app_with_a_slip()
    assert type(error.value) is ConfigError
    with (
        click.Context(click.Command("flask"), obj=ScriptInfo()),
        pytest.raises(ConfigError) as error,
    ):
        create_app_with_a_slip()
    assert isinstance(error.value, click.ClickException)


def test_wrong_workflow_is_told_as_a_sentence_too():
    def create_app():
        class Wrong(Workflow):
            pass

    said = flask(create_app, "squidmesh", "check")
    assert said.exit_code == 1
    assert said.stderr.startswith("Error: workflow validation failed: ")


@pytest.mark.parametrize("command", ["check", "install", "runs", "worker"])
def test_application_without_the_extension(command):
    said = flask(lambda: Flask("shop"), "squidmesh", command)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr == (
        "Error: flask_squidmesh is not initialised for the application 'shop'; "
        "call squidmesh.init_app(app) in its factory\n"
    )


def test_error_of_the_hosts_own_code_is_not_hidden():
    def create_app():
        raise KeyError("their own")

    assert isinstance(flask(create_app, "squidmesh", "check").exception, KeyError)

"""Workflows that an application lists in `SQUIDMESH_WORKFLOWS`."""

from __future__ import annotations

from flask_squidmesh import Workflow, complete, manual, step


class FirstListed(Workflow):
    go = manual()
    work = step(lambda: None)
    transitions = [work >> complete]  # the specification writes it like this


class SecondListed(Workflow):
    go = manual()
    work = step(lambda: None)
    transitions = [work >> complete]  # the specification writes it like this

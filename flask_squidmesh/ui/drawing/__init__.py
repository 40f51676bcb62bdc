"""Draws workflows and runs on the server: `draw` gives SVG for a page."""

from flask_squidmesh.ui.drawing.svg import SIGNS, draw

__all__ = ["SIGNS", "draw"]

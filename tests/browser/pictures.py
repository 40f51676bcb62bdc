"""The pictures of the documentation: taken by the tests, and small."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Page

IN_DOCS: Final = {
    # the page and its look: how much of it is shown, in pixels from above
    "run-desktop": 1400,
    "inbox-desktop": 900,
    "overview-desktop": 1200,
    "decision-desktop": 900,
    "workflow-loop-desktop": 1150,
    "run-done-phone-dark": 1300,
}
# Narrower than a desktop's window, so that it can be read in the documentation's column.
_WIDTH: Final = 1000
_COLOURS: Final = 64


def keep_for_docs(page: Page, path: Path) -> None:
    """Save what the documentation shows of a page, as an image with a palette."""
    usual = page.viewport_size
    assert usual is not None
    width = min(_WIDTH, usual["width"])
    page.set_viewport_size({"width": width, "height": usual["height"]})
    height = page.evaluate("document.documentElement.scrollHeight")
    shown: Any = {"x": 0, "y": 0, "width": width, "height": min(height, IN_DOCS[path.stem])}
    taken = page.screenshot(full_page=True, clip=shown)
    page.set_viewport_size(usual)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(taken)) as image:
        few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        few.save(path, optimize=True)

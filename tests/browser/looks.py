"""What is wrong with a page as a browser shows it."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# Labels of cells are made by the style sheet, so they have no box of their own that could be
# asked for: a label begins at the top of its cell, and takes at least a line.
_CROWDED = """() => {
  const found = [];
  for (const row of document.querySelectorAll("#squidmesh tr")) {
    let { top: free, bottom: end } = row.getBoundingClientRect();
    for (const cell of row.querySelectorAll("[data-label]")) {
      const label = getComputedStyle(cell, "::before");
      if (label.content === "none" || label.content === "normal") continue;
      const box = cell.getBoundingClientRect();
      if (cell.checkVisibility() === false) continue;
      const top = box.top + parseFloat(getComputedStyle(cell).paddingTop);
      const bottom = top + parseFloat(label.height);
      if (top < free - 1) found.push(`crowded: ${cell.dataset.label}`);
      if (bottom > end + 1) found.push(`out of its row: ${cell.dataset.label}`);
      free = bottom;
    }
  }
  for (const box of document.querySelectorAll("#squidmesh .sq-scroll")) {
    const isCut = box.scrollWidth > box.clientWidth;
    if (isCut) found.push(`a table is cut: ${box.innerText.slice(0, 40)}`);
  }
  return found;
}"""


def trouble(page: Page) -> list[str]:
    """Return everything that is wrong with a page; empty when nothing is."""
    return violations(page) + cuts(page)


def violations(page: Page) -> list[str]:
    """Return what axe finds, in short."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} ({node['failureSummary'][:200]})"
        for each in found
        for node in each["nodes"]
    ]


def cuts(page: Page) -> list[str]:
    """Return what is out of sight, or stands on top of something else."""
    is_wide = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    crowded: list[str] = page.evaluate(_CROWDED)
    return ["wider than the window"] * is_wide + crowded

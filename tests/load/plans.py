"""What a plan of PostgreSQL has read, of `EXPLAIN (ANALYZE, FORMAT JSON)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def read_by(node: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what each part of a plan reads, and how many rows that are."""
    if "Relation Name" in node:
        left = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        rows = node["Actual Loops"] * (node["Actual Rows"] + left)
        yield f"{node['Node Type']} on {node['Relation Name']}: {rows:.0f} rows", rows
    for part in node.get("Plans", ()):
        yield from read_by(part)

"""The small host application of the contract tests, on both kinds of databases."""

from __future__ import annotations

from tests.contract.conftest import clock, open_world, seen, shared_url, url, world

__all__ = ["clock", "open_world", "seen", "shared_url", "url", "world"]

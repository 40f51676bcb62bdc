"""Where the figures come from: the machine, and the versions of everything."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.contest import ENTERED
from benchmarks.servers import servers

WATCHED: Final = 2.0


def facts() -> dict[str, Any]:
    """Return them as the head of the document; nothing in it names the machine."""
    with servers() as started:
        about_servers = started.facts()
    versions: dict[str, str] = {}
    missing = []
    for contestant in ENTERED:
        found = contestant.versions()
        if found is None:
            missing.append(contestant.name)
        versions |= found or {}
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
        "servers": about_servers,
        "versions": dict(sorted(versions.items(), key=lambda item: item[0].lower())),
        "missing_peers": missing,
    }


def used_by_others() -> float:
    """Return how many percent of all cores are in use, while we only watch."""
    return float(psutil.cpu_percent(interval=WATCHED))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()

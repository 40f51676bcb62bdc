"""Finds the system's Chromium for the browser tests; installs it where that is possible.

    python tools/find_chromium.py

Prints the path. Playwright's own download of a browser is not used: the tests
drive the Chromium of the system's package manager, as it is kept up there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
"""What distributions call it, in the order of preference."""


def find_chromium() -> str | None:
    """Return the path of the program, or None when it is not installed.

    The environment variable `CHROMIUM` names another one.
    """
    return next(filter(None, map(shutil.which, [os.environ.get("CHROMIUM", ""), *NAMES])), None)


def install() -> str | None:
    """Install Chromium with the system's package manager; return why not, None when it is done."""
    program = shutil.which("apt-get")
    if program is None:
        return "the package manager apt-get is not there"
    if os.geteuid() != 0:
        return "only root may install packages"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            [program, "--quiet", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            return f"apt-get {arguments[0]} said: {done.stderr.strip()[-500:]}"
    return None


def main() -> int:
    """Print where Chromium is; 1 when it is nowhere and can not be installed."""
    path = find_chromium()
    if path is None:
        print("Installing Chromium ...", file=sys.stderr)
        refusal = install()
        path = find_chromium()
        if path is None:
            print(
                "The browser tests need Chromium, which is not installed: "
                f"{refusal or 'the package chromium brought no such program'}. "
                "Install it with your system's package manager (Debian, Ubuntu: "
                "apt-get install chromium), or name one in the environment variable CHROMIUM.",
                file=sys.stderr,
            )
            return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

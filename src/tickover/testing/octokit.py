"""The payloads that GitHub's own libraries publish: npm `@octokit/webhooks-examples`, got by the npm that is here."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "7.6.1"
PACKAGE: Final = "@octokit/webhooks-examples"


class Example(NamedTuple):
    """One payload and the event it belongs to."""

    event: str
    number: int
    payload: dict[str, Any]


class AbsentError(Exception):
    """The package cannot be had here; the text says why."""


def examples() -> list[Example]:
    """Return all payloads, installed once below the temporary folder. Raises AbsentError."""
    folder = Path(tempfile.gettempdir()) / f"tickover-octokit-{VERSION}-{os.getuid()}"
    file = folder / "node_modules" / PACKAGE / "api.github.com" / "index.json"
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            _install(folder)
    groups = json.loads(file.read_text(encoding="utf-8"))
    return [
        Example(group["name"], index, payload) for group in groups for index, payload in enumerate(group["examples"])
    ]


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise AbsentError("npm is not installed")
    argv = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise AbsentError(f"npm cannot install {PACKAGE}: {done.stderr.strip()[-300:]}")

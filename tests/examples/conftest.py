"""Run an example's blocks and its check by hand, without a sandbox: here only their arithmetic is in question."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FENCE = re.compile(r"^```(?P<lang>\w+)(?P<info>[^\n]*)\n(?P<body>.*?)^```\s*$", re.MULTILINE | re.DOTALL)

RunBlocks = Callable[[str, Path], str]


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's git settings, Python paths and temporary folder out."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in [name for name in os.environ if name.startswith(("GIT_", "PYTHON"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada | `L`",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def run_blocks(clean_environment: None) -> RunBlocks:
    """Return a function that runs the blocks of an example in a folder, and gives what they printed."""
    interpreter = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}

    def run(example: str, folder: Path) -> str:
        routine = (EXAMPLES / example / "ROUTINE.md").read_text(encoding="utf-8")
        blocks = [match for match in FENCE.finditer(routine) if match["lang"] in interpreter]
        assert blocks
        said = ""
        for block in blocks:
            command = [*interpreter[block["lang"]], block["body"]]
            said += subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
        return said

    return run

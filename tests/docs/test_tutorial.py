"""The tutorial, followed word by word: what it says comes out is what comes out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "docs/tutorial/first-routine.md"


def block(language: str, fence: str = "```") -> str:
    found = re.search(
        rf"^{fence}{language}\n(.*?)^{fence}$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_amber_then_green_then_red(tmp_path: Path) -> None:
    repository = tmp_path / "a repository ünd mehr"
    folder = repository / "routines/largest-files"
    (folder / "checks").mkdir(parents=True)
    for size in (7, 300, 20, 1000):
        (repository / f"file {size}").write_bytes(b"x" * size)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", "-C", str(repository), *command], check=True)

    def run() -> int:
        program = [sys.executable, "-c", "from tickover.cli import main; main()"]
        home = ["--home", str(tmp_path / "home")]
        return subprocess.run([*program, "run", str(folder), *home], check=False).returncode

    routine = folder / "ROUTINE.md"
    routine.write_text(block("markdown", "````"), encoding="utf-8")
    assert run() == 6

    (folder / "checks/largest_check.py").write_text(block("python"), encoding="utf-8")
    text = routine.read_text(encoding="utf-8").replace("\n---\n", f"\n{block('yaml')}---\n", 1)
    routine.write_text(text, encoding="utf-8")
    assert run() == 0

    assert "print $4," in text
    routine.write_text(text.replace("print $4,", "print $4 + 1,"), encoding="utf-8")
    assert run() == 5

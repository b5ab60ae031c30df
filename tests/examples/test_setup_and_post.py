"""The example as its reader plays it: every command, every exit code, and the double's record beside the receipts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLAY = Path(__file__).resolve().parents[2] / "examples" / "setup-and-post" / "play.py"
PLAYS = {
    "honest": (0, "VERIFIED", 1),
    "not-ok": (5, "ok is true: got false", 1),
    "other-channel": (5, "request_denied", 0),
    "other-host": (5, "elsewhere.test", 0),
    "twice": (0, "allows 1 in the whole run", 1),
    "twice-allowed": (5, "2 receipts as it should be, exactly 1 asked", 2),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each != "honest" else ()) for each in PLAYS]
)
def test_it_ends_as_it_should_and_the_double_agrees(name: str, tmp_path: Path) -> None:
    code, says, posts = PLAYS[name]
    command = [sys.executable, str(PLAY), name, "--folder", str(tmp_path / "play")]
    played = subprocess.run(command, check=False, capture_output=True, text=True)
    shown = played.stdout + played.stderr
    assert played.returncode == code, shown
    assert says in shown
    assert f"the double saw {posts}, the receipts say {posts}: the same" in shown
    assert "chain verified" in shown or posts == 0
    token = (tmp_path / "play" / "token").read_text()
    assert token not in shown

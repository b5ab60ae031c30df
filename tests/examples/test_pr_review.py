"""The example as its reader plays it: the real CLIs, installed from this machine's registry of packages, and our loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAY = Path(__file__).resolve().parents[2] / "examples" / "pr-review" / "play.py"
PLAYS = {
    "honest": (0, "VERIFIED  (state: review by acme-bot read back from acme/app#7; state: tickover/review-7", 1),
    "says-so": (5, "acme/app#7 has no review by acme-bot of this run", 0),
    "approves": (5, 'got "APPROVE"', 0),
    "pushes-main": (5, "refs/heads/main is not among the refs that `may` names", 1),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists("/usr/bin/npm"), reason="npm is not at /usr/bin/npm"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder of all plays, so that the build is installed once."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("agent", ["claude-code", "codex", "loop"])
@pytest.mark.parametrize("name", PLAYS)
def test_the_run_says_what_the_doubles_have(name: str, agent: str, home: Path) -> None:
    code, says, reviews = PLAYS[name]
    command = [sys.executable, str(PLAY), name, "--agent", agent, "--home", str(home)]
    played = subprocess.run(command, check=False, capture_output=True, text=True)
    shown = played.stdout + played.stderr
    assert played.returncode == code, shown
    assert says in shown
    assert f"the doubles have {reviews} review(s)" in shown
    assert "the run says the same" in shown

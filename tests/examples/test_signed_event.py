"""The example as its reader plays it: from a signed event to a notice, by way of a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLAY = Path(__file__).resolve().parents[2] / "examples" / "signed-event" / "play.py"


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize(("name", "says"), [("honest", "signed-event: verified"), ("refused", "signed-event: failed")])
def test_it_ends_as_it_must_and_everybody_agrees(name: str, says: str, tmp_path: Path) -> None:
    command = [sys.executable, str(PLAY), name, "--folder", str(tmp_path / "play")]
    played = subprocess.run(command, check=False, capture_output=True, text=True)
    shown = played.stdout + played.stderr
    assert played.returncode == 0, shown
    assert says in shown
    assert "'duplicate': True" in shown
    assert "chain verified" in shown
    assert "NOT  " not in shown

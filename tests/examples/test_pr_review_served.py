"""The example behind a server: one script from `up` to the notice, and an imported routine whose 200 is not believed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVE = Path(__file__).resolve().parents[2] / "examples" / "pr-review" / "serve.py"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_a_signed_event_to_the_notice_and_the_fire_that_did_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SERVE), "--folder", str(tmp_path / "play")]
    played = subprocess.run(command, check=False, capture_output=True, text=True)
    shown = played.stdout + played.stderr
    assert played.returncode == 0, shown
    assert shown.count("\nok   ") == 9, shown
    assert "NOT  " not in shown
    assert "VERIFIED  (state: review by acme-bot read back from acme/app#7" in shown
    assert "✘ FAILED  (expect[0] http:" in shown

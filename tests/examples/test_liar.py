"""What the liar does to the host is the escape suite's business; here: its check counts, and its form holds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

LIAR = Path(__file__).resolve().parents[2] / "examples" / "liar"


def inventory(tmp_path: Path, commit: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            "env",
            f"INVENTORY_REPOSITORY={tmp_path / 'origin/.git'}",
            f"INVENTORY_SUBJECT={tmp_path / 'subject'}",
            f"TICKOVER_COMMIT_APP={commit}",
            *(sys.executable, "-I", str(LIAR / "checks/inventory_check.py")),
        ],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def commit(tmp_path: Path, clean_environment: None) -> str:
    origin = tmp_path / "origin"
    (origin / "a b").mkdir(parents=True)
    (origin / "a b/ü").write_bytes(b"12345")
    (origin / "two").write_bytes(b"12\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", str(origin), *command], check=True)
    head = subprocess.run(
        ["git", "-C", str(origin), "rev-parse", "HEAD"], check=True, stdout=subprocess.PIPE, text=True
    )
    (tmp_path / "subject/out").mkdir(parents=True)
    return head.stdout.strip()


def test_the_work_the_liar_does_not_do_would_pass(tmp_path: Path, commit: str) -> None:
    work = {"commit": commit, "files": 2, "bytes": 8}
    (tmp_path / "subject/out/inventory.json").write_text(json.dumps(work), encoding="utf-8")
    done = inventory(tmp_path, commit)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("left", [None, "not json", '{"commit": "0", "files": 41, "bytes": 90210}', "[]", "{}"])
def test_what_the_liar_leaves_fails(tmp_path: Path, commit: str, left: str | None) -> None:
    if left is not None:
        (tmp_path / "subject/out/inventory.json").write_text(left, encoding="utf-8")
    done = inventory(tmp_path, commit)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("out/inventory.json")


def test_every_block_reports_its_try_under_its_own_id() -> None:
    routine = (LIAR / "ROUTINE.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|python) id=([a-z-]+)\n(.*?)^```", routine, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 12
    assert [name for name, body in blocks if f"TRY {name} |" not in body] == []

"""The page of refusals names every word that a refused client can read, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tickover.core.metering import BUDGET_CODES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/gateway.md"
NEVER_READ = {"client_gone", "linger"}
"""Nobody is left to read these."""
OF_REFS = {"ref_not_allowed", "ref_force", "ref_delete", "ref_twice", "ref_malformed"}
"""Words of core.push, of which two are put together there."""


def words() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "src/tickover/gateway").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        found |= set(re.findall(r'Refusal\(\s*[^"()]*,\s*"([a-z_0-9]+)"', text))
        found |= set(re.findall(r'within\(\s*[^"()]*,\s*[0-9]+,\s*"([a-z_0-9]+)"', text))
    found |= BUDGET_CODES
    enforcement = (ROOT / "src/tickover/core/enforcement.py").read_text(encoding="utf-8")
    return (found | set(re.findall(r'Deny\("([a-z_]+)"', enforcement)) | OF_REFS | {"large_head"}) - NEVER_READ


def test_every_word_is_explained_and_no_other() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## What a refused client reads")[1].split("## What it does not")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    explained = {word for row in rows for word in re.findall(r"`([a-z_0-9]+)`", row.split("|")[1])}
    assert explained == words()

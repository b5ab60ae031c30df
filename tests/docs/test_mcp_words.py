"""The page of MCP servers names every word of its own that a refused agent can read, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "src/tickover/gateway/mcp").glob("*.py"), *(ROOT / "src/tickover/core").glob("[jm][sc][op]*.py")]


def test_every_word_is_explained_and_no_other() -> None:
    page = (ROOT / "docs/reference/mcp.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(mcp_[a-z_]+)`", page))
    found = {word for file in SOURCES for word in re.findall(r'"(mcp_[a-z_]+)"', file.read_text(encoding="utf-8"))}
    assert {each.name for each in SOURCES} >= {"faces.py", "jsonrpc.py", "mcp.py"}
    assert explained == found

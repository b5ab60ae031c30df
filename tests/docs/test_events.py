"""The page of events names every sender and every name of a filter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from tickover.core.github import NAMES
from tickover.core.operator import OPERATORS
from tickover.relay.providers import PROVIDERS
from tickover.store.events import Verdict

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/events.md").read_text(encoding="utf-8")


def firsts(title: str) -> set[str]:
    """Return the words in code of a section's first column."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_senders() -> None:
    assert firsts("Senders") == {*PROVIDERS, "sns", "webhook"}


def test_names() -> None:
    assert firsts("Names in `when` for GitHub") == set(NAMES)


def test_verdicts() -> None:
    assert firsts("What can become of an event") == set(get_args(Verdict))


def test_operators() -> None:
    assert set(OPERATORS) <= set(re.findall(r"[a-z_]+", PAGE.split("Operators: `")[1].split("`")[0]))

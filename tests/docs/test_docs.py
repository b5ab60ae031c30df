"""What the pages promise: their links lead somewhere, their routines load, the commands they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tickover.cli import VERBS
from tickover.core.built import NOT_BUILT
from tickover.core.definition import FrontMatter
from tickover.routines.loader import load_folder, parse_routine

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
ROUTINE = re.compile(r"^````markdown\n(---\n.*?)^````$", re.MULTILINE | re.DOTALL)


def routines() -> list[tuple[str, str]]:
    return [(page.name, text) for page in PAGES for text in ROUTINE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    verbs = set(re.findall(r"(?:`|\$ |bin/)tickover ([a-z]+)", text))
    assert verbs <= set(VERBS)
    scripts = re.findall(r"\bscripts/[a-z_.-]*[a-z]", text)
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_the_readme_begins_with_a_routine_of_nine_lines() -> None:
    first = ROUTINE.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert first is not None
    assert len(first[1].splitlines()) == 9


@pytest.mark.parametrize(("page", "text"), routines())
def test_routines_load(page: str, text: str) -> None:
    assert parse_routine(text.encode()).routine.agent == "steps"


@pytest.mark.parametrize("example", ["repo-digest", "false-green", "false-green-claude", "liar"])
def test_examples_load(example: str) -> None:
    assert load_folder(str(ROOT / "examples" / example)).routine.name == example


def test_the_page_of_keys_names_each_key_that_runs_and_no_other() -> None:
    page = (ROOT / "docs/reference/routine.md").read_text(encoding="utf-8")
    table = page.split("## Keys that this release runs")[1].split("Keys of later releases")[0]
    waiting = {need.key for need in NOT_BUILT} - {"agent", "may"}  # of which some run
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == set(FrontMatter.model_fields) - waiting

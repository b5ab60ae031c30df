from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from tickover.routines.loader import load_folder
from tickover.testing.model import Script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fourth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("with_claude")


def test_the_copy_asks_the_doubles(fourth: ModuleType, tmp_path: Path) -> None:
    folder = fourth.copy(str(ROOT), str(tmp_path), "https://localhost:1234", "http://127.0.0.1:2345")
    routine = load_folder(folder).routine
    assert routine.agent == fourth.BUILD
    assert routine.environment.env == {"ANTHROPIC_BASE_URL": "https://localhost:1234"}
    [check] = routine.expect
    assert getattr(check, "url", "") == "http://127.0.0.1:2345/messages"


def test_the_script_is_one(fourth: ModuleType) -> None:
    [scenario] = Script(json.loads((ROOT / fourth.ROUTINE / "script.json").read_text())).scenarios
    assert scenario.turns[-1].text.startswith("Posted to #eng")


def test_its_own_word_is_the_last_one(fourth: ModuleType) -> None:
    journal = importlib.import_module("journal")
    events = [
        {"type": "agent_text", "data": {"text": "On it."}},
        {"type": "agent_text", "data": {"text": "Posted."}},
        {"type": "agent_finished", "data": {"said": "success"}},
    ]
    assert fourth.own_word(journal.Run(5, 1.0, {}, events)) == ("success", "Posted.")
    assert fourth.own_word(journal.Run(7, 1.0, {}, [])) == ("nothing", "")


def test_what_is_missing_comes_with_a_command(
    fourth: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fourth, "NEEDED", (str(tmp_path / "npm"),))
    with pytest.raises(fourth.ProblemError, match=r"there is no .*npm"):
        fourth.check_node()

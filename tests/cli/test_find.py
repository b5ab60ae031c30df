from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tickover.cli.find import find_routine, own_name, routines_in
from tickover.core.errors import NotFoundError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("routines/hello", "routines/digest", "loose", "src/deep"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("routines/hello", "routines/digest", "loose"):
        (tmp_path / name / "ROUTINE.md").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "word", ["hello", "routines/hello", "routines/hello/", "routines/hello/ROUTINE.md", "loose/../routines/hello"]
)
def test_a_folder_its_file_or_a_name(here: Path, word: str) -> None:
    assert find_routine(word) == here / "routines/hello"


def test_a_name_is_found_from_below(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here / "src/deep")
    assert find_routine("hello") == here / "routines/hello"


@pytest.mark.parametrize("word", ["helo", "../hello", "src", "no\x1b[2Jname", ""])
def test_what_is_not_there_is_not_found(here: Path, word: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_routine(word)
    assert caught.value.code == "cli.routine_not_found"
    assert ("did you mean `hello`?" in caught.value.hint) is (word == "helo")


def test_a_link_to_a_shelf_is_followed_but_a_name_never_leaves_it(here: Path) -> None:
    (here / "routines/outside").symlink_to(here / "loose")
    assert find_routine("outside") == here / "routines/outside"


def test_all_routines_of_a_folder_and_of_its_shelf(here: Path) -> None:
    assert [path.relative_to(here).as_posix() for path in routines_in(here)] == [
        "loose",
        "routines/digest",
        "routines/hello",
    ]
    assert list(routines_in(here / "loose")) == [here / "loose"]
    assert list(routines_in(here / "src")) == []


@pytest.mark.parametrize(
    ("called", "installed", "name"),
    [
        (".venv/bin/tickover", False, ".venv/bin/tickover"),
        ("/srv/a b/bin/tickover", False, "'/srv/a b/bin/tickover'"),
        ("/usr/bin/tickover", True, "tickover"),
        ("pytest", False, "tickover"),
    ],
)
def test_what_is_named_to_be_typed_next_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str, installed: bool, name: str
) -> None:
    (tmp_path / "tickover").touch(mode=0o755 if installed else 0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [called])
    assert own_name() == name

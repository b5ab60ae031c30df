from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tickover.cli.init import CHECK, FILES, ROUTINE
from tickover.core.contract import weaknesses
from tickover.routines.loader import load_folder

Cli = Callable[..., Result]


def test_the_routine_has_nine_lines_loads_and_can_verify(cli: Cli, tmp_path: Path) -> None:
    assert cli("init", str(tmp_path)).exit_code == 0
    loaded = load_folder(str(tmp_path / "routines/hello"))
    assert len(ROUTINE.splitlines()) == 9
    assert "contract.too_weak" not in {each.code for each in weaknesses(loaded.routine)}
    assert (tmp_path / ".gitignore").read_text() == ".tickover/\n"


@pytest.mark.parametrize(("answer", "code"), [("338350\n", 0), ("338351\n", 1), ("", 1), (None, 1)])
def test_the_check_counts_for_itself(answer: str | None, code: int, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    if answer is not None:
        (tmp_path / "out/squares.txt").write_text(answer)
    text = CHECK.replace("/subject/", f"{tmp_path}/")
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("there", FILES)
def test_nothing_is_overwritten_and_then_nothing_is_written(cli: Cli, tmp_path: Path, there: str) -> None:
    mine = tmp_path / there
    mine.parent.mkdir(parents=True)
    mine.symlink_to("nowhere")
    shown = cli("init", str(tmp_path))
    assert (shown.exit_code, shown.stderr.splitlines()[-1]) == (2, "  code  init.exists")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert mine.is_symlink()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "a\n.tickover/\n"),
        ("a\n", "a\n.tickover/\n"),
        ("/.tickover/\n", "/.tickover/\n"),
        ("b\udcff\n", "b\udcff\n.tickover/\n"),
    ],
)
def test_one_line_is_added_to_an_ignore_file(cli: Cli, tmp_path: Path, before: str, after: str) -> None:
    ignore = tmp_path / ".gitignore"
    ignore.write_text(before, encoding="utf-8", errors="surrogateescape")
    assert cli("init", str(tmp_path)).exit_code == 0
    assert ignore.read_text(encoding="utf-8", errors="surrogateescape") == after


def test_the_next_command_is_named(cli: Cli, tmp_path: Path) -> None:
    assert f"next: tickover run {tmp_path}/routines/hello\n" in cli("init", str(tmp_path)).stderr

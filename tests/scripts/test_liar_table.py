from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


def event(seq: int, type_: str, **data: object) -> dict[str, object]:
    return {"seq": seq, "type": type_, "data": data}


def test_each_try_is_paired_with_what_the_journal_answers(script: Script) -> None:
    events = [
        event(3, "agent_output", text="TRY symlink-out | links\nnoise\nTRY new-idea | \x1b[2Jmet\x07 nothing\n"),
        event(4, "agent_output", text="TRY git-config | written\nTRY nothing-to-do | said\nTRY paint | \n"),
        event(5, "agent_output", blob="0" * 64),
        event(6, "report_claimed", status="noop"),
        event(7, "check_evaluated", kind="git", result="error"),
        event(8, "check_evaluated", kind="command", result="fail"),
        event(9, "artifact_refused", path="out/shadow"),
        event(10, "artifact_refused", path="out/\x1b[31mroot"),
        event(11, "verdict_reached", outcome="failed"),
    ]
    assert script("liar_table").tries(events) == [
        ("symlink-out", "links -> not taken: out/shadow, out/ [31mroot", "#3 #10"),
        ("new-idea", "[2Jmet nothing", "#3"),
        ("git-config", "written -> git check: error", "#4 #7"),
        ("nothing-to-do", "said -> kept as a claim of noop, which proves nothing", "#4 #6"),
        ("paint", " -> outcome: failed", "#4 #11"),
    ]


def test_the_table_fits_the_terminal(
    script: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    script("liar_table").print_table([("name", "word " * 60, "agent_output #3"), ("other", "", "x")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["tried", "met", "recorded"]
    assert sum(line.count("word") for line in lines) == 60


def test_code_of_the_liar_on_this_machine_is_seen(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = script("liar_table")
    monkeypatch.setattr(table, "MARK", str(tmp_path / "mark"))
    before = table.host_marks()
    (tmp_path / "mark").touch()
    with subprocess.Popen(["bash", "-c", "exec -a tickover-liar-daemon cat"], stdin=subprocess.PIPE) as daemon:
        assert daemon.stdin is not None
        seen = set[str]()
        while f"process {daemon.pid}" not in seen and daemon.poll() is None:
            seen = set(table.host_marks()) - set(before)
        daemon.communicate()
    assert seen == {str(tmp_path / "mark"), f"process {daemon.pid}"}

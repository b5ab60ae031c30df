from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result

from tickover.app import RunRequest
from tickover.cli.run import address, pairs
from tickover.core.errors import UsageError
from tickover.core.event import AttemptStarted, Fact
from tickover.core.status import Outcome
from tickover.testing.app import ScriptedTickover
from tickover.testing.stories import FAILED, HOSTILE, REFUSED, VERIFIED, created, judged, prepared, said, worked

Cli = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "count").mkdir()
    (tmp_path / "count/ROUTINE.md").write_text("")
    return tmp_path / "count"


def told(home: Path, story: Sequence[Fact]) -> ScriptedTickover:
    return ScriptedTickover(home, run="261118-1", script=story)


UNVERIFIED = [*created(), *prepared(), *worked(), *judged(Outcome.UNVERIFIED, "unverified (no contract)", [], [], 6)]
PENDING = [*created(), *prepared(), *worked(), *judged(Outcome.PENDING, "pending (expect[0] http)", [], [], 8)]


@pytest.mark.parametrize(("story", "code"), [(VERIFIED, 0), (FAILED, 5), (UNVERIFIED, 6), (REFUSED, 7), (PENDING, 8)])
def test_the_exit_code_is_what_was_proved(cli: Cli, home: Path, folder: Path, story: list[Fact], code: int) -> None:
    assert cli("run", str(folder), obj=told(home, story).opening).exit_code == code


def test_a_run_is_shown_and_its_id_comes_last(cli: Cli, home: Path, folder: Path) -> None:
    shown = cli("run", str(folder), obj=told(home, VERIFIED).opening)
    assert shown.stdout.startswith("count  run 261118-1\n")
    assert "\n✔ VERIFIED  (artifact: recounted: 14)\nexecution completed after 0 ms\n" in shown.stdout
    assert shown.stdout.endswith("\n\nartifacts  out/digest.md\nmore       tickover runs show 261118-1\n")
    assert shown.stderr == ""


def test_as_json_it_is_the_journal_and_then_the_row(cli: Cli, home: Path, folder: Path) -> None:
    shown = cli("run", str(folder), "--json", obj=told(home, FAILED).opening)
    *events, last = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(FAILED) + 1))
    assert (last["type"], last["run"], last["data"]["outcome"], last["data"]["exit_code"]) == (
        "run",
        "261118-1",
        "failed",
        5,
    )


def test_everything_asked_for_arrives(cli: Cli, home: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_bytes(b'{"a": 1}\xff')
    tickover = told(home, VERIFIED)
    args = ["--input", "week=last", "--input", "note=a=b", "--repo", "app=https://git.example.com/a", "--keep"]
    cli("run", str(folder), *args, "--event", str(tmp_path / "event.json"), "--no-wait", obj=tickover.opening)
    assert tickover.requests == [
        RunRequest(
            folder=str(folder),
            inputs={"week": "last", "note": "a=b"},
            event=b'{"a": 1}\xff',
            repositories={"app": "https://git.example.com/a"},
            keep=True,
            wait=False,
        )
    ]
    assert tickover.opened_with_sandbox == [True]


def test_an_event_may_come_from_stdin(cli: Cli, home: Path, folder: Path) -> None:
    tickover = told(home, VERIFIED)
    cli("run", str(folder), "--event", "-", obj=tickover.opening, input=b"\x00")
    assert tickover.requests[0].event == b"\x00"


@pytest.mark.parametrize(
    "args", [["--input", "week"], ["--input", "=x"], ["--input", "a=1", "--input", "a=2"], ["--event", "/no/such"]]
)
def test_wrong_options_start_nothing(cli: Cli, home: Path, folder: Path, args: list[str]) -> None:
    tickover = told(home, VERIFIED)
    assert cli("run", str(folder), *args, obj=tickover.opening).exit_code == 2
    assert tickover.opened_with_sandbox == []


def test_no_such_routine(cli: Cli, tmp_path: Path) -> None:
    shown = cli("run", str(tmp_path), "--json")
    assert shown.exit_code == 3
    assert json.loads(shown.stderr)["error"]["code"] == "cli.routine_not_found"


def test_what_the_agent_prints_reaches_the_terminal_without_escapes(cli: Cli, home: Path, folder: Path) -> None:
    story = [*created(), *prepared(), *worked(said(HOSTILE + "\n")), *UNVERIFIED[-4:]]
    shown = cli("run", str(folder), obj=told(home, story).opening).stdout
    assert not [letter for letter in shown if letter != "\n" and not letter.isprintable()]


def test_pairs() -> None:
    assert pairs(("a=1", "b=", "c=x=y"), "--input") == {"a": "1", "b": "", "c": "x=y"}
    with pytest.raises(UsageError):
        pairs(("a",), "--input")


def test_a_path_is_an_address_a_url_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert address("https://git.example.com/a?b") == "https://git.example.com/a?b"
    assert address("some repo") == f"file://{tmp_path}/some%20repo"
    assert address("/srv/x") == "file:///srv/x"


def test_an_error_of_the_run_is_told(cli: Cli, home: Path, folder: Path) -> None:
    broken = told(home, [AttemptStarted(attempt=1)])
    shown = cli("run", str(folder), obj=broken.opening)
    assert shown.exit_code == 1
    assert "code  journal.corrupt" in shown.stderr

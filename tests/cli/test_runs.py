from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from tickover.core.event import CancelRequested, payload
from tickover.store.base import OUTSIDE
from tickover.testing.app import ScriptedTickover, record
from tickover.testing.stories import FAILED, HOSTILE, REFUSED, VERIFIED, created, prepared, said, worked

Cli = Callable[..., Result]
LIVE = [*created(), *prepared(), *worked(said(HOSTILE + "\n"))[:1]]


@pytest.fixture
def tickover(home: Path) -> Iterator[ScriptedTickover]:
    """A data folder with four runs, the newest last."""
    scripted = ScriptedTickover(home)
    for run, story in (("261118-aa", VERIFIED), ("261118-ab", FAILED), ("261119-c", REFUSED), ("261119-d", LIVE)):
        record(scripted, run, story)
    yield scripted
    scripted.store.close()


@pytest.mark.usefixtures("tickover")
def test_the_list_is_newest_first_and_filtered(cli: Cli) -> None:
    shown = cli("runs", "list")
    assert [line.split()[0] for line in shown.stdout.splitlines()] == [
        "RUN",
        "261119-d",
        "261119-c",
        "261118-ab",
        "261118-aa",
    ]

    def ids(*options: str) -> list[str]:
        return [row["id"] for row in json.loads(cli("runs", "list", "--json", *options).stdout)]

    assert ids("--limit", "2") == ["261119-d", "261119-c"]
    assert ids("--outcome", "failed") == ["261118-ab"]
    assert ids("--execution", "refused") == ["261119-c"]
    assert ids("--routine", "other") == []


def test_an_empty_list_says_so_to_people_and_is_a_list_for_programs(cli: Cli) -> None:
    assert (cli("runs", "list").stdout, json.loads(cli("runs", "list", "--json").stdout)) == ("", [])
    assert "no runs" in cli("runs", "list").stderr


@pytest.mark.usefixtures("tickover")
def test_a_run_is_shown_by_any_part_of_its_id_that_only_it_has(cli: Cli) -> None:
    assert "✔ VERIFIED" in cli("runs", "show", "261118-aa").stdout
    assert "✘ FAILED" in cli("runs", "show", "261118-ab").stdout
    assert "execution refused" in cli("runs", "show", "261119-c").stdout
    told = json.loads(cli("runs", "show", "261119-c", "--json").stdout)
    assert (told["id"], told["execution"], told["outcome"], told["exit_code"]) == ("261119-c", "refused", "none", 7)


@pytest.mark.usefixtures("tickover")
@pytest.mark.parametrize("verb", [["show"], ["logs"], ["cancel"], ["artifact", "--", "x"]])
@pytest.mark.parametrize("run", ["261118-a", "nope", "\x1b[2J"])
def test_a_run_that_is_not_or_not_one_is_not_found(cli: Cli, verb: list[str], run: str) -> None:
    shown = cli("runs", verb[0], run, *verb[2:])
    assert (shown.exit_code, shown.stdout) == (3, "")
    assert "\x1b" not in shown.stderr
    if run == "261118-a":
        assert "2 runs" in shown.stderr


@pytest.mark.usefixtures("tickover")
def test_the_journal_by_number(cli: Cli) -> None:
    lines = [json.loads(line) for line in cli("runs", "logs", "261118-aa", "--json").stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(VERIFIED) + 1))
    assert lines[0]["type"] == "run_created"
    later = cli("runs", "logs", "261118-aa", "--json", "--after", str(len(VERIFIED) - 1)).stdout.splitlines()
    assert [json.loads(line)["type"] for line in later] == ["run_finished"]
    whole = cli("runs", "logs", "261118-aa").stdout
    assert "  │ 14 changes\n" in whole
    last = cli("runs", "logs", "261118-aa", "--after", str(len(VERIFIED) - 1)).stdout.splitlines()[-1]
    assert last.startswith("execution completed after ")
    assert last in whole


@pytest.mark.usefixtures("tickover")
def test_a_log_without_follow_ends_where_the_journal_ends_and_keeps_escapes_out(cli: Cli) -> None:
    shown = cli("runs", "logs", "261119-d")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "  │ ✔ verified" in shown.stdout


def test_follow_sees_what_another_process_appends_and_ends_with_the_run(home: Path, tickover: ScriptedTickover) -> None:
    follow = "from tickover.cli import main; main(prog_name='tickover')"
    command = [sys.executable, "-c", follow, "runs", "logs", "-f", "261119-d", "--json", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        seen = [json.loads(following.stdout.readline())["type"] for _ in LIVE]
        assert seen[0] == "run_created"
        cancel = CancelRequested(by="a test")
        tickover.store.journal.append("261119-d", OUTSIDE, [{"type": cancel.type, **payload(cancel)}])
        assert json.loads(following.stdout.readline())["data"]["by"] == "a test"
        lease = tickover.store.leases.acquire("261119-d", "test", 60)
        rest = [*worked(), *FAILED[-13:]]
        tickover.store.journal.append("261119-d", lease.fence, [{"type": f.type, **payload(f)} for f in rest])
        last = [json.loads(line)["type"] for line in following.stdout]
    assert last[-1] == "run_finished"
    assert following.returncode == 0


@pytest.mark.usefixtures("tickover")
def test_a_reader_that_goes_away_ends_it_quietly(home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    follow = "from tickover.cli import main; main(prog_name='tickover')"
    command = [sys.executable, "-c", follow, "runs", "logs", "261118-aa", "--json", "--home", str(home)]
    with os.fdopen(write, "wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_cancel_asks_whoever_works_on_it(cli: Cli, tickover: ScriptedTickover) -> None:
    assert cli("runs", "cancel", "261119-d").exit_code == 0
    assert str(tickover.run_row("261119-d").cancel_requested_by).endswith("command line)")


@pytest.mark.usefixtures("tickover")
def test_a_run_that_has_ended_cannot_be_cancelled(cli: Cli) -> None:
    shown = cli("runs", "cancel", "261118-aa")
    assert shown.exit_code == 1
    assert "run.ended" in shown.stderr
    assert "outcome verified" in shown.stderr


def test_an_artifact_is_written_as_it_is(cli: Cli, tickover: ScriptedTickover) -> None:
    body = b"\x00\xff\x1b[2Jbytes"
    digest = tickover.blobs.put(body)
    story = [
        fact.model_copy(update={"sha256": digest}) if fact.type == "artifact_stored" else fact for fact in VERIFIED
    ]
    record(tickover, "261120-e", story)
    assert cli("runs", "artifact", "261120-e", "out/digest.md").stdout_bytes == body
    assert cli("runs", "artifact", "261120-e", "out/other").exit_code == 3


def test_readers_start_no_sandbox(cli: Cli, tickover: ScriptedTickover) -> None:
    assert cli("runs", "show", "261119-d", obj=tickover.opening).exit_code == 0
    assert tickover.opened_with_sandbox == [False]

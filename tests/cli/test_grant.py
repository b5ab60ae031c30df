from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Cli = Callable[..., Result]
FRONT = """\
---
name: digest
agent: steps
environment: {{network: [docs.test], credentials: [chat]}}
may:
  - request: {{to: "POST https://chat.test/api/post", credential: chat, max: {most}}}
---
```bash
true
```
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "routines" / "digest"
    folder.mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(FRONT.format(most=1))
    return folder


def test_what_is_asked_is_shown_and_granted_only_with_a_yes(cli: Cli, folder: Path) -> None:
    cli("secret", "set", "chat", "--hosts", "chat.test", input="a-value-of-some-length")
    asked = cli("grant", str(folder))
    assert asked.exit_code == 2
    assert "grant.not_asked" in asked.stderr
    assert asked.stdout.splitlines()[1:] == [
        "  +  credential  the credential `chat`, and all that it can read at chat.test",
        "  +  write       to change one POST request to https://chat.test/api/post",
        "  +  host        to reach docs.test",
    ]
    assert json.loads(cli("grant", str(folder), "--json").stdout)["granted"] is False
    granted = cli("grant", str(folder), "--yes")
    assert (granted.exit_code, granted.stderr) == (0, "granted\n")
    again = json.loads(cli("grant", str(folder), "--json").stdout)
    assert (again["new"], len(again["kept"]), again["granted"]) == ([], 3, True)


def test_a_change_is_a_difference_and_what_goes_is_taken_back(cli: Cli, folder: Path) -> None:
    cli("grant", str(folder), "--yes")
    (folder / "ROUTINE.md").write_text(FRONT.format(most=2))
    shown = cli("grant", str(folder), "--yes").stdout
    assert "  +  write       to change up to two POST requests to https://chat.test/api/post" in shown
    assert "  =  host        to reach docs.test (granted)" in shown
    assert "one POST request to https://chat.test/api/post (no longer asked for: taken back)" in shown
    (folder / "ROUTINE.md").write_text(FRONT.format(most=1))
    back = json.loads(cli("grant", str(folder), "--json").stdout)
    assert [each["says"] for each in back["new"]] == ["to change one POST request to https://chat.test/api/post"]


def test_the_same_name_in_another_folder_has_nothing(cli: Cli, folder: Path, tmp_path: Path) -> None:
    cli("grant", str(folder), "--yes")
    other = tmp_path / "elsewhere" / "digest"
    other.mkdir(parents=True)
    (other / "ROUTINE.md").write_text(FRONT.format(most=1))
    assert len(json.loads(cli("grant", str(other), "--json").stdout)["new"]) == 3


def test_a_routine_that_asks_for_nothing_needs_no_grant(cli: Cli, folder: Path) -> None:
    (folder / "ROUTINE.md").write_text("---\nname: digest\nagent: steps\n---\n```bash\ntrue\n```\n")
    done = cli("grant", str(folder))
    assert done.exit_code == 0
    assert "asks for nothing that has to be granted" in done.stdout


def test_what_was_pushed_is_granted_by_its_name_whatever_the_version(cli: Cli, folder: Path) -> None:
    cli("secret", "set", "chat", "--hosts", "chat.test", input="a-value-of-some-length")
    pushed = cli("push", str(folder))
    assert pushed.exit_code == 0, pushed.stderr
    assert "  +  write       to change one POST request to https://chat.test/api/post" in pushed.stdout
    assert "its runs are refused until" in pushed.stderr
    cli("grant", str(folder), "--yes")  # the folder's own runs, not the server's
    assert len(json.loads(cli("push", str(folder), "--json").stdout)["asks"]) == 3
    shown = cli("grant", "digest", "--yes")
    assert (shown.exit_code, shown.stderr) == (0, "granted\n")
    assert "pushed, version" in shown.stdout
    text = (folder / "ROUTINE.md").read_text()
    (folder / "ROUTINE.md").write_text(text.replace("true\n", "true  # another version\n"))
    again = json.loads(cli("push", str(folder), "--json").stdout)
    assert (again["changed"], again["asks"]) == (True, [])
    (folder / "ROUTINE.md").write_text(FRONT.format(most=2))
    wider = json.loads(cli("push", str(folder), "--json").stdout)
    assert wider["asks"] == ["to change up to two POST requests to https://chat.test/api/post"]


def test_what_this_instance_cannot_give_is_not_pushed(cli: Cli, folder: Path) -> None:
    refused = cli("push", str(folder))
    assert refused.exit_code == 2
    assert "credential.unknown" in refused.stderr
    assert "ROUTINE.md:6:" in refused.stderr
    assert "routine.not_found" in cli("routine", "pause", "digest").stderr


def test_a_schedule_that_never_fires_is_told_by_the_push(cli: Cli, folder: Path) -> None:
    front = "on:\n  - schedule: {cron: '0 0 31 2 *'}\n  - schedule: {at: '2020-01-01T00:00:00Z'}\n"
    (folder / "ROUTINE.md").write_text(f"---\nname: digest\nagent: steps\n{front}---\n```bash\ntrue\n```\n")
    pushed = cli("push", str(folder))
    assert pushed.exit_code == 0, pushed.stderr
    assert "`cron: 0 0 31 2 *` never fires" in pushed.stderr
    never = json.loads(cli("push", str(folder), "--json").stdout)["never"]
    assert never == ["`cron: 0 0 31 2 *`", "`at: 2020-01-01T00:00:00Z`"]


def test_a_paused_routine_is_shown_as_one(cli: Cli, folder: Path) -> None:
    front = "on:\n  - schedule: {every: 1d}\n"
    (folder / "ROUTINE.md").write_text(f"---\nname: digest\nagent: steps\n{front}---\n```bash\ntrue\n```\n")
    assert json.loads(cli("routine", "show", str(folder), "--json").stdout)["pushed"] is None
    cli("push", str(folder))
    assert json.loads(cli("routine", "show", str(folder), "--json").stdout)["pushed"]["paused"] is None
    cli("routine", "pause", "digest", "--reason", "the wiki moves")
    assert "paused: the wiki moves; `tickover routine resume digest`" in cli("routine", "show", str(folder)).stdout
    assert "paused" in cli("routine", "list", str(folder.parent)).stdout
    assert "paused  the wiki moves" in cli("routine", "next", str(folder)).stderr

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Cli = Callable[..., Result]

DIGEST = """---
name: digest
description: "Posts a digest.\\e[2J"
agent: claude-code@2.1.197
isolation: microvm
on: [{schedule: {cron: "0 9 * * mon"}}, {api: {}}]
connectors: {slack: {tools: [post_message]}}
may: [{slack: {tool: post_message, channels: [C0ENG], max: 1}}]
expect: [{command: {run: "python3 check.py"}}]
---
Write it.
"""
HELLO = """---
name: hello
agent: steps
expect: [{command: {run: "python3 hello_check.py"}}, {file: {path: out/x}}]
---
```sh
true
```
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("digest", DIGEST), ("hello", HELLO), ("wrong", "---\nname: wrong\nagnet: steps\n---\n")):
        (tmp_path / "routines" / name / "checks").mkdir(parents=True)
        (tmp_path / "routines" / name / "ROUTINE.md").write_text(text)
    (tmp_path / "routines/digest/checks/check.py").touch()
    (tmp_path / "routines/hello/checks/hello_check.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_routines_are_listed_weak_ones_and_wrong_ones_too(cli: Cli) -> None:
    shown = cli("routine", "list")
    assert shown.exit_code == 0
    head, digest, hello, wrong = shown.stdout.splitlines()
    assert head.split() == ["ROUTINE", "AGENT", "STARTS", "SERVER", "CONTRACT"]
    assert "schedule, api" in digest
    assert "▲ this routine can only ever be unverified, because it may write outside" in digest
    assert hello.split(maxsplit=2)[:2] == ["hello", "steps"]
    assert hello.split(maxsplit=2)[2] == "by hand                2 checks"
    assert "line 2: `agent` is required (and 1 more)" in wrong


@pytest.mark.usefixtures("here")
def test_the_list_for_programs(cli: Cli) -> None:
    digest, hello, wrong = json.loads(cli("routine", "list", "--json").stdout)
    assert digest["can_change"][0] == "can change: one message in C0ENG; nothing else"
    assert digest["weaknesses"][0]["code"] == "contract.too_weak"
    assert digest["not_yet"] == ["isolation"]
    assert (hello["name"], hello["not_yet"]) == ("hello", [])
    assert wrong["error"]["problems"][1]["where"]["line"] == 3


def test_no_routines(cli: Cli, tmp_path: Path) -> None:
    assert "no routines" in cli("routine", "list", str(tmp_path)).stderr
    assert json.loads(cli("routine", "list", str(tmp_path), "--json").stdout) == []


@pytest.mark.usefixtures("here")
def test_show_says_what_may_change_what_proves_and_what_is_weak(cli: Cli) -> None:
    page = cli("routine", "show", "digest").stdout
    assert "\x1b" not in page
    assert "can change: one message in C0ENG; nothing else\nunproved write: one message in C0ENG" in page
    assert "starts: schedule (cron 0 9 * * mon); api (always)\n" in page
    assert "expect: it is green only when\n  expect[0]  command  artifact  `python3 check.py` exits 0\n" in page
    assert "  ▲  contract.too_weak  this routine can only ever be unverified" in page
    assert "`run` refuses\n  isolation\n" in page
    assert "\nversion  " in page


@pytest.mark.usefixtures("here")
def test_a_version_is_known_if_the_folder_decides_it(cli: Cli) -> None:
    version = json.loads(cli("routine", "show", "hello", "--json").stdout)["version"]
    assert len(version) == 64
    assert f"version  {version}\n" in cli("routine", "show", "hello").stdout


@pytest.mark.usefixtures("here")
def test_defaults_are_printed_when_asked_for(cli: Cli) -> None:
    assert "limits.timeout" not in cli("routine", "show", "hello").stdout
    lines = cli("routine", "show", "hello", "--defaults").stdout.splitlines()
    [timeout] = [line.split() for line in lines if "limits.timeout" in line]
    assert timeout == ["limits.timeout", '"1h"', "default"]
    assert ["agent", '"steps"'] in [line.split() for line in lines]
    given = json.loads(cli("routine", "show", "hello", "--json").stdout)
    every = json.loads(cli("routine", "show", "hello", "--json", "--defaults").stdout)
    assert [each["key"] for each in given["settings"]][:2] == ["name", "agent"]
    assert len(every["settings"]) > 30
    assert given["contract"][1] == {
        "list": "expect", "index": 1, "kind": "file", "class": "claim", "guard": False, "says": "out/x is there",
    }  # fmt: skip


@pytest.mark.usefixtures("here")
def test_a_wrong_routine_names_line_and_near_key(cli: Cli) -> None:
    shown = cli("routine", "show", "wrong")
    assert shown.exit_code == 2
    assert "error: unknown key `agnet`\n" in shown.stderr
    assert "ROUTINE.md:3:1 (agnet)\n  hint  did you mean `agent`?\n" in shown.stderr


def test_show_says_which_credentials_and_hosts_it_needs(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "poster"
    folder.mkdir()
    front = "name: poster\nagent: steps\nenvironment: {network: [packages, docs.test], credentials: [chat]}\n"
    (folder / "ROUTINE.md").write_text(f"---\n{front}---\n```bash\ntrue\n```\n")
    page = cli("routine", "show", str(folder)).stdout
    assert "uses the credentials: chat (`tickover grant` shows where they go)\n" in page
    assert "reaches: packages, docs.test\n" in page
    assert json.loads(cli("routine", "show", str(folder), "--json").stdout)["credentials"] == ["chat"]

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from tickover.store.events import NewEvent, Outcome, Routing
from tickover.store.sqlite_events import SqliteEvents

Cli = Callable[..., Result]
NOW = 1_790_000_000.0
BODY = json.dumps(
    {
        "action": "opened",
        "number": 7,
        "pull_request": {"base": {"ref": "main"}, "title": "\x1b[31mred\u202e"},
        "repository": {"full_name": "acme/app"},
    }
).encode()
EVENT = NewEvent(
    "review/github", "github", "d1", "pull_request.opened", NOW, {"x-github-event": "pull_request"}, len(BODY), BODY
)
ROUTINE = """---
name: review
agent: steps
inputs: {pr: {type: integer, default: 0}, title: {type: string, default: ""}}
on:
  - github:
      repo: acme/app
      events: [pull_request.opened]
      when: {base_branch: main}
      input: {pr: $.number, title: "{{ event.pull_request.title }}"}
  - stripe: {secret: stripe, events: [invoice]}
  - api: {}
---
```bash
true
```
"""


@pytest.fixture
def events(home: Path) -> Iterator[SqliteEvents]:
    events = SqliteEvents(str(home))

    async def put() -> None:
        for new in (
            EVENT,
            replace(EVENT, delivery="d2", name="push"),
            replace(EVENT, source="pay/stripe", provider="stripe", name="invoice.paid"),
        ):
            await events.put(new)

    asyncio.run(put())
    clause = {
        "path": "base_branch",
        "says": 'is "main"',
        "value": "\x1b[2Jmain",
        "missing": False,
        "ok": False,
        "depth": 0,
    }
    events.decide("e1", [Outcome(Routing("e1", "review/github", NOW, "filtered", "when", "✗ base_branch", (clause,)))])
    events.decide("e3", [Outcome(Routing("e3", "pay/stripe", NOW, "fired", "", run="run-9", starts_at=NOW))])
    events.reject("review/github", "signature_mismatch", NOW, {"client": "192.0.2.1", "user_agent": "curl\x1b[2J"})
    asyncio.run(events.put(EVENT))
    yield events
    events.close()


@pytest.fixture
def routine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work" / "routines" / "review"
    folder.mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(ROUTINE, encoding="utf-8")
    (folder.parent.parent / "pr.json").write_bytes(BODY)
    monkeypatch.chdir(folder.parent.parent)
    return folder


@pytest.mark.usefixtures("events")
def test_the_list_says_what_became_of_each(cli: Cli) -> None:
    lines = cli("events", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["EVENT", "e3", "e2", "e1"]
    assert lines[1].endswith("fired: run-9")
    assert lines[2].endswith("not routed yet")
    assert lines[3].endswith("filtered: ✗ base_branch")

    def ids(*options: str) -> list[str]:
        return [each["event"] for each in json.loads(cli("events", "list", "--json", *options).stdout)]

    assert ids("--provider", "stripe") == ["e3"]
    assert ids("--source", "review/github", "--limit", "1") == ["e2"]
    assert ids("--provider", "nobody") == []


def test_nothing_came_yet(cli: Cli) -> None:
    assert (cli("events", "list").stdout, "no events" in cli("events", "list").stderr) == ("", True)
    assert "nothing was refused" in cli("events", "list", "--rejected").stderr


@pytest.mark.usefixtures("events")
def test_refusals_are_counted(cli: Cli) -> None:
    shown = cli("events", "list", "--rejected")
    assert "signature_mismatch  1" in shown.stdout
    assert "\x1b" not in shown.stdout
    [told] = json.loads(cli("events", "list", "--rejected", "--json").stdout)
    assert (told["source"], told["reason"], told["count"]) == ("review/github", "signature_mismatch", 1)


@pytest.mark.usefixtures("events")
def test_an_event_is_shown_with_every_clause_and_nothing_hidden(cli: Cli) -> None:
    shown = cli("events", "show", "e1").stdout
    assert 'base_branch is "main"' in shown
    assert not {"\x1b", "\u202e"} & set(shown)
    assert cli("events", "show", "e1", "--body").stdout_bytes == BODY
    told = json.loads(cli("events", "show", "e1", "--json").stdout)
    assert (told["routings"][0]["verdict"], told["routings"][0]["clauses"][0]["ok"]) == ("filtered", False)
    for event in ("e9", "x"):
        missing = cli("events", "show", event)
        assert (missing.exit_code, "event.not_found" in missing.stderr) == (3, True)


@pytest.mark.usefixtures("routine")
def test_a_replay_is_a_new_event(cli: Cli, events: SqliteEvents) -> None:
    assert "e5 is e1 again" in cli("events", "replay", "e1").stderr
    assert cli("push", "review").exit_code == 0
    told = json.loads(cli("events", "replay", "e1", "--to", "review/stripe", "--json").stdout)
    assert (told["source"], told["replay_of"], told["state"]) == ("review/stripe", "e1", "received")
    copy = events.get("e5")
    assert (copy.body, copy.headers, copy.name) == (BODY, EVENT.headers, EVENT.name)
    assert cli("events", "replay", "e1", "--to", "other").exit_code == 2
    gone = cli("events", "replay", "e1", "--to", "other/github")
    assert (gone.exit_code, "there is: review/github, review/stripe" in gone.stderr) == (3, True)
    events.purge(NOW + 8 * 86400)
    assert (cli("events", "replay", "e1").exit_code, cli("events", "show", "e1", "--body").exit_code) == (3, 3)


@pytest.mark.usefixtures("routine")
def test_a_file_is_tried_on_a_routine(cli: Cli) -> None:
    shown = cli(
        "events",
        "test",
        "review",
        "--event",
        "pr.json",
        "--header",
        "X-GitHub-Event=pull_request",
        "--provider",
        "github",
    )
    assert "github  pull_request.opened  fires" in shown.stdout
    assert 'base_branch is "main"' in shown.stdout
    assert "input  pr     7" in shown.stdout
    assert "\x1b" not in shown.stdout
    [told] = json.loads(
        cli("events", "test", "review", "--event", "pr.json", "--name", "push", "--provider", "github", "--json").stdout
    )
    assert (told["fires"], told["reason"], told["inputs"]) == (False, "event", {})


@pytest.mark.usefixtures("routine", "events")
def test_the_last_events_are_tried_on_a_routine(cli: Cli) -> None:
    told = json.loads(cli("events", "test", "review", "--last", "5", "--json").stdout)
    assert {(each["event"], each["trigger"]): each["fires"] for each in told} == {
        ("e1", "github"): True,
        ("e2", "github"): False,
        ("e3", "stripe"): True,
    }


@pytest.mark.usefixtures("routine")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--event", "pr.json"], "events.name"),
        ([], "events.what"),
        (["--event", "pr.json", "--last", "1"], "events.what"),
        (["--event", "pr.json", "--header", "x"], "events.header"),
        (["--event", "pr.json", "--provider", "slack"], "events.no_trigger"),
        (["--event", "gone.json"], "cli.usage"),
    ],
)
def test_what_cannot_be_tried(cli: Cli, options: list[str], code: str) -> None:
    failed = cli("events", "test", "review", *options)
    assert (failed.exit_code, code in failed.stderr) == (2, True), failed.stderr


def test_a_body_that_is_no_json_is_named_as_such(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routine").mkdir()
    (tmp_path / "routine" / "ROUTINE.md").write_text(ROUTINE.replace("name: review", "name: routine"), encoding="utf-8")
    (tmp_path / "body").write_text("no json", encoding="utf-8")
    said = cli(
        "events", "test", str(tmp_path / "routine"), "--event", str(tmp_path / "body"), "--name", "pull_request.opened"
    )
    assert "is no JSON and no form" in said.stderr
    assert "does not fire" in said.stdout


def test_a_span_of_time_has_its_unit(cli: Cli) -> None:
    said = cli("events", "backfill", "--since", "3")
    assert (said.exit_code, "is no duration" in said.stderr) == (2, True)


def test_only_what_asks_for_it_can_be_confirmed(events: SqliteEvents, cli: Cli) -> None:
    done = cli("events", "confirm", "e1")
    assert done.exit_code == 2
    assert "events.no_topic" in done.output
    assert cli("events", "confirm", "e99").exit_code == 3

"""Whole runs with connectors: written by a `may` of the connector, read back by its check with a token of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.cli.show import run_page
from tickover.core.errors import DefinitionErrors
from tickover.core.wish import Wish
from tickover.testing.github import GitHubDouble, Pull
from tickover.testing.localhost import entry, serving, url
from tickover.testing.sandbox import until
from tickover.testing.slack import Account, SlackDouble
from tickover.testing.upstream import Upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

BOT, READER = "xoxb-the-token-of-the-agent-4711", "xoxb-the-token-of-the-verifier-4712"
PAT, READ_PAT = "ghp_the_token_of_the_agent_4713", "ghp_the_token_of_the_verifier_4714"
SEND = """\
import json, sys, urllib.request
url, body = sys.argv[1:]
asking = urllib.request.Request(url, body.encode(), {"content-type": "application/json"}, method="POST")
try:
    print(urllib.request.urlopen(asking, timeout=30).read().decode())
except Exception as error:
    print("no:", error)
"""


@dataclass
class Town:
    """The doubles, served, and what the owner of the machine has set up for them."""

    bench: Bench
    slack: SlackDouble
    github: GitHubDouble
    at: dict[str, Upstream]

    def routine(self, *calls: tuple[str, dict[str, Any]], **front: Any) -> Path:
        """Write and grant a routine that sends each body to its path (`slack/chat.postMessage`)."""
        lines = [f"cat > send.py <<'EOF'\n{SEND}EOF\n"]
        for path, body in calls:
            name, _, rest = path.partition("/")
            lines.append(f"python3 send.py {self.address(name)}/{rest} '{json.dumps(body)}'\n")
        folder = self.bench.routine("".join(lines), **front)
        self.bench.tickover.grant(folder, by="owner")
        return folder

    def address(self, name: str) -> str:
        return url(self.at[name]) + ("/api" if name == "slack" else "")


@pytest.fixture
async def town(bench: Bench) -> AsyncIterator[Town]:
    scopes = frozenset({"channels:history"})
    slack = SlackDouble({BOT: Account("UBOT", frozenset({"chat:write"})), READER: Account("UREAD", scopes)})
    pulls = {"acme/app": [Pull(7, "Fix it", "fix", "a" * 40)]}
    github = GitHubDouble({PAT: "acme-bot", READ_PAT: "acme-reader"}, pulls)
    async with AsyncExitStack() as stack:
        at = {
            "slack": await stack.enter_async_context(serving(slack)),
            "github": await stack.enter_async_context(serving(github)),
        }
        town = Town(bench, slack, github, at)
        roots = bench.folder / "roots.pem"
        roots.write_bytes(b"".join(each.authority.pem for each in at.values() if each.authority))
        connectors = {
            name: {"url": town.address(name), "credential": f"{name}-bot", "verifier_credential": f"{name}-reader"}
            for name in at
        }
        network = {"private": [entry(each) for each in at.values()], "roots": [str(roots)]}
        (bench.tickover.home / "tickover.yaml").write_text(json.dumps({"network": network, "connectors": connectors}))
        for name, value in (
            ("slack-bot", BOT), ("slack-reader", READER), ("github-bot", PAT), ("github-reader", READ_PAT)
        ):  # fmt: skip
            hosts = [entry(at[name.partition("-")[0]])]
            bench.tickover.secrets.set(name, value.encode(), by="owner", binding={"hosts": hosts})
        yield town


POST = "slack/chat.postMessage"
SAYS = {"channel": "C0ENG", "text": "Weekly digest: 14 < 15 changes"}
SLACK: dict[str, Any] = {
    "connectors": {"slack": {"tools": ["post_message"]}},
    "may": [{"slack": {"tool": "post_message", "channels": ["C0ENG"], "max": 1}}],
    "expect": [{"slack": {"channel": "C0ENG", "contains": "Weekly digest: 14 <", "by": "UBOT", "since": "run"}}],
}


async def test_a_message_is_verified_by_reading_it_back_with_the_verifiers_token(town: Town) -> None:
    town.slack.say("C0ENG", "Weekly digest: 14 < 15 changes", "UBOT", at=1_700_000_000)
    row = await town.bench.run(town.routine((POST, SAYS), **SLACK))
    assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, town.bench.said())
    assert "state: message with “Weekly digest: 14 <” by UBOT read back from C0ENG" in row.reason
    assert town.slack.posts() == [SAYS]
    called = [(each["method"], each["by"]) for each in town.slack.called]
    assert called == [
        ("auth.test", "UBOT"),
        ("conversations.history", "UREAD"),
        ("chat.postMessage", "UBOT"),
        ("conversations.history", "UREAD"),
    ]
    assert town.bench.findings(row) == []
    everything = json.dumps([event.data for event in town.bench.events])
    assert not [token for token in (BOT, READER) if token in everything]


async def test_nothing_posted_another_channel_and_one_too_many(town: Town) -> None:
    town.slack.channels["C0EVIL"] = []
    row = await town.bench.run(town.routine(**SLACK))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert "no message of this run" in row.reason
    row = await town.bench.run(town.routine((POST, {**SAYS, "channel": "C0EVIL"}), (POST, SAYS), (POST, SAYS), **SLACK))
    assert (row.outcome, town.slack.posts()) == ("verified", [SAYS]), row.reason
    assert town.slack.channels["C0EVIL"] == []
    assert [each["code"] for each in town.bench.facts("connection_denied")] == ["body", "max"]


async def test_what_the_reader_may_not_read_is_no_proof(town: Town) -> None:
    town.slack.tokens = {**town.slack.tokens, READER: Account("UREAD", frozenset())}
    row = await town.bench.run(town.routine((POST, SAYS), **SLACK))
    assert (row.outcome, row.exit_code) == ("unverified", 6)
    assert "C0ENG cannot be read: missing_scope" in row.reason


async def test_a_token_that_the_server_sends_back_is_in_nothing_that_is_kept(town: Town) -> None:
    town.slack.say("C0ENG", f"Weekly digest: 14 < {READER}", "UBOT", at=4_000_000_000)
    row = await town.bench.run(town.routine((POST, SAYS), **SLACK))
    assert (row.outcome, row.exit_code) == ("unverified", 6), "what held before the run proves nothing"
    [said] = town.bench.facts("check_evaluated")
    kept = town.bench.tickover.blobs.get(said["evidence_blob"])
    assert b"Weekly digest: 14" in kept
    files = [each.read_bytes() for each in town.bench.tickover.home.rglob("*") if each.is_file()]
    found = [data[data.find(READER.encode()) - 60 :][:200] for data in (kept, *files) if READER.encode() in data]
    assert found == []


async def test_a_rate_limit_is_waited_for(town: Town) -> None:
    expect = [{"slack": {"channel": "C0ENG", "contains": "Weekly digest", "within": "2m"}}]
    running = asyncio.create_task(town.bench.run(town.routine((POST, SAYS), **{**SLACK, "expect": expect})))
    await town.bench.until("agent_started", running)
    town.slack.limited_from = 3
    row = await running
    assert (row.outcome, row.exit_code) == ("verified", 0), row.reason
    asked = [each["result"] for each in town.bench.facts("check_evaluated")]
    assert asked == ["pending", "pass"]


@pytest.mark.timeout(300)
async def test_a_message_is_read_back_when_the_process_of_the_run_is_gone(town: Town) -> None:
    town.slack.limited_from = 3
    expect = [{"slack": {"channel": "C0ENG", "contains": "Weekly digest", "within": "10m"}}]
    tickover = town.bench.tickover
    name = tickover.push(town.routine((POST, SAYS), **{**SLACK, "expect": expect})).name
    tickover.grant(tickover.pushed_folder(name), by="owner")
    run = tickover.enqueue(Wish(name)).run
    async with tickover.server():
        await until(lambda: tickover.run_row(run).outcome == "verified", lambda: tickover.run_row(run), seconds=120)
    asked = [event.data["result"] for event in tickover.journal(run) if event.type == "check_evaluated"]
    assert (asked[0], asked[-1]) == ("pending", "pass")
    assert town.slack.called[-1]["by"] == "UREAD"
    assert not [token for token in (BOT, READER) if token in str(tickover.journal(run))]


async def test_a_review_is_verified_by_reading_it_back(town: Town) -> None:
    front: dict[str, Any] = {
        "connectors": {"github": {"tools": ["create_review"]}},
        "may": [{"github": {"tool": "create_review", "repos": ["acme/app"], "events": ["COMMENT"], "max": 1}}],
        "expect": [{"github": {"repo": "acme/app", "pull": "{{ inputs.pull }}", "review_by": "acme-bot"}}],
        "inputs": {"pull": {"type": "integer", "default": 7}},
    }
    review, approve = {"event": "COMMENT", "body": "Off by one."}, {"event": "APPROVE"}
    path = "github/repos/acme/app/pulls/7/reviews"
    row = await town.bench.run(town.routine((path, approve), (path, review), **front))
    assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, town.bench.said())
    assert "state: review by acme-bot read back from acme/app#7" in row.reason
    assert town.github.writes() == [("POST", "/repos/acme/app/pulls/7/reviews", 200)]
    assert {
        each["by"] for each in town.github.called if each["path"].endswith("/reviews") and each["method"] == "GET"
    } == {"acme-reader"}


async def test_what_an_earlier_run_did_is_no_evidence_of_this_one(town: Town) -> None:
    old = {"user": {"login": "acme-bot"}, "state": "COMMENTED", "body": "x", "submitted_at": "2024-01-01T00:00:00Z"}
    town.github.pulls["acme/app"][0].reviews.append(old)
    row = await town.bench.run(
        town.routine(expect=[{"github": {"repo": "acme/app", "pull": "fix", "review_by": "Acme-Bot"}}])
    )
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert "there is one from before the run" in row.reason


async def test_a_connector_that_the_instance_does_not_have(bench: Bench) -> None:
    folder = bench.routine("true", **SLACK)
    with pytest.raises(DefinitionErrors) as caught:
        await bench.run(folder)
    assert {each.code for each in caught.value.problems} == {"connector.unknown"}


async def test_who_acts_is_asked_before_the_agent_and_shown(town: Town) -> None:
    """With the agent's own credential: it is the account in whose name something will stand there."""
    row = await town.bench.run(town.routine((POST, SAYS), **SLACK))
    [seen] = row.accounts
    assert (seen.place, seen.credential, seen.account, seen.problem) == ("slack", "slack-bot", "UBOT in Example", "")
    types = [event.type for event in town.bench.events]
    assert types.index("account_seen") < types.index("agent_started")
    shown = "\n".join(map(str, run_page(row, row.created)))
    assert "slack: UBOT in Example, by the credential slack-bot" in shown
    await town.bench.run(town.routine((POST, SAYS), **SLACK))
    asked = [each["by"] for each in town.slack.called if each["method"] == "auth.test"]
    assert asked == ["UBOT", "UBOT"], "each run asks anew: a token that was revoked a moment ago is not believed"
    everywhere = {each.place: each for each in await town.bench.tickover.who_acts()}
    assert set(everywhere) == {"slack", "github"}
    [now] = await town.bench.tickover.who_acts(town.bench.tickover.load(town.routine(**SLACK)).routine)
    assert now == everywhere["slack"]
    assert (now.credential, now.account) == ("slack-bot", "UBOT in Example")
    town.bench.tickover.secrets.set("slack-bot", READER.encode(), by="owner")
    row = await town.bench.run(town.routine(**SLACK))
    assert row.accounts[0].account == "UREAD in Example", "another value is another account"


async def test_a_replay_asks_nobody_who_acts_and_reads_nothing_back(town: Town) -> None:
    row = await town.bench.run(town.routine((POST, SAYS), **SLACK), record=True)
    assert (row.outcome, len(row.accounts)) == ("verified", 1), row.reason
    town.bench.tickover.secrets.set("slack-bot", READER.encode(), by="owner")  # of this value nothing is known yet
    asked = len(town.slack.called)
    compared = await town.bench.tickover.replay(row.id)
    assert len(town.slack.called) == asked
    assert (compared.now.accounts, compared.now.drifts, compared.now.outcome) == ((), (), "unverified")
    assert [str(each.likeness) for each in compared.checks] == ["not_asked"]
    assert {str(each.evidence_class) for each in compared.now.evidence} == {"claim"}


@pytest.mark.parametrize("required", [["post_message"], []])
async def test_a_credential_that_is_not_taken_ends_it_before_the_agent(town: Town, required: list[str]) -> None:
    town.slack.tokens = {READER: town.slack.tokens[READER]}
    offered = {"slack": {"tools": ["post_message"], "required": required}}
    row = await town.bench.run(town.routine((POST, SAYS), **{**SLACK, "connectors": offered}))
    assert (row.execution, row.outcome, row.agent_started) == ("failed", "none", False)
    cause = row.attempts[-1].cause
    assert cause is not None
    assert (cause.phase, cause.cause) == ("preflight", "preflight")
    assert "slack does not take the credential `slack-bot`: it answers invalid_auth" in cause.hint
    assert "tickover secret set slack-bot" in cause.hint


@pytest.mark.parametrize(("required", "started"), [(["create_comment"], False), ([], True)])
async def test_a_service_that_does_not_answer_ends_it_only_where_it_is_required(
    town: Town, required: list[str], started: bool
) -> None:
    front: dict[str, Any] = {
        "connectors": {"github": {"tools": ["create_comment"], "required": required}},
        "may": [{"github": {"tool": "create_comment", "repos": ["acme/app"]}}],
    }
    gone = json.loads((town.bench.tickover.home / "tickover.yaml").read_text())
    gone["connectors"]["github"]["url"] = "https://localhost:1"
    gone["network"]["private"].append("localhost:1")
    (town.bench.tickover.home / "tickover.yaml").write_text(json.dumps(gone))
    town.bench.tickover.secrets.set("github-bot", PAT.encode(), by="owner", binding={"hosts": ["localhost:1"]})
    row = await town.bench.run(town.routine(**front))
    assert row.agent_started is started, row.attempts[-1].cause
    [seen] = row.accounts
    assert (seen.account, bool(seen.problem)) == ("", True)


COMMENT = ("github/repos/acme/app/issues/7/comments", {"body": "Seen."})
OTHERS = ("github/repos/acme/other/issues/7/comments", {"body": "Seen."})


@pytest.mark.parametrize(
    ("calls", "required", "missing"),
    [
        ([OTHERS], True, True),
        ([OTHERS], False, False),
        ([COMMENT, OTHERS], True, False),
        ([COMMENT, COMMENT], True, False),
        ([], True, False),
    ],
)
async def test_a_required_tool_that_was_only_denied_fails_the_run(
    town: Town, calls: list[tuple[str, dict[str, Any]]], required: bool, missing: bool
) -> None:
    front: dict[str, Any] = {
        "connectors": {"github": {"tools": ["create_comment"], "required": ["create_comment"] if required else []}},
        "may": [{"github": {"tool": "create_comment", "repos": ["acme/app"], "max": 1}}],
        "expect": [{"file": {"path": "send.py", "min_bytes": 1}}],
    }
    row = await town.bench.run(town.routine(*calls, **front))
    found = [each.finding.message for each in row.findings if each.finding.code == "required_missing"]
    assert ["`create_comment` of github was denied" in each for each in found] == [True] * missing
    assert (row.outcome == "failed") is missing, row.reason

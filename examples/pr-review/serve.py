"""Play the routine as it is meant: a server, a push, a signed GitHub event, the review, the verdict, the notice in Slack.

    python3 serve.py [--agent loop | claude-code | codex] [--folder DIR]

Then a second one beside it: a Claude Routine, imported, that goes on running where it was (`agent: remote`). Its `/fire`
answers 200 and does nothing, and the run is `failed`. Exits with 0 if everything came as it must; what Tickover says
is compared with the doubles' own records. The model is scripted, as in `play.py`; all the rest is real.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from play import AGENTS, CHANGED, EVENT, MAIN, World, copy, turns

from tickover.gateway.certificates import RunAuthority
from tickover.testing.git_server import GitServer
from tickover.testing.github import GitHubDouble, Pull
from tickover.testing.http import Double, double
from tickover.testing.model import ScriptedModel
from tickover.testing.up import Up
from tickover.testing.upstream import Seen, Talk, upstream

FIRE = "/v1/claude_code/routines/trig_01/fire"
KEPT = {
    "name": "Weekly digest",
    "cron_expression": "0 9 * * 1",
    "job_config": {"ccr": {"events": [{"data": {"message": {"content": "Write the digest to /digest."}}}]}},
}
"""What the service keeps of a Claude Routine, as far as it is read by `tickover import`."""


@dataclass
class Idle:
    """The service where the imported routine runs: `/fire` answers 200 as documented, and the digest is never there."""

    fired: list[Seen] = field(default_factory=list)

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        if seen.method == "POST" and seen.target == FIRE:
            self.fired.append(seen)
            told = {"type": "routine_fire", "claude_code_session_id": "session_01"}
            await talk.answer(json.dumps(told).encode())
        else:
            await talk.answer(status="404 Not Found")


@dataclass
class Stage:
    """The server, and what is known of it."""

    up: Up
    said: str = ""

    async def tickover(self, *words: str, stdin: str = "", shown: bool = True) -> str:
        if shown:
            print("\n$ tickover", *words, flush=True)
        code, out, err = await self.up.cli(*words, stdin=stdin)
        self.said += out + err
        if shown or code:
            print(out + err, end="", flush=True)
        if code:
            sys.exit(code)
        return out

    async def ended(self, client: httpx.AsyncClient, routine: str, room: Double, notices: int) -> dict[str, Any]:
        """Wait for the routine's run to end and for the notice of it."""
        while True:
            runs = (await client.get(f"/api/v1/runs?routine={routine}")).json()["runs"]
            if runs and runs[0]["finished"] and len(room.sent) >= notices:
                return dict(runs[0])
            if runs and not runs[0]["finished"]:
                await client.get(f"/api/v1/runs/{runs[0]['id']}?wait=5")
            else:
                await asyncio.sleep(0.2)


async def play(agent: str, folder: Path) -> bool:
    token, reader, forge, fire = (f"{kind}_{secrets.token_hex(18)}" for kind in ("ghp", "ghp", "ghp", "sk-ant-oat01"))
    hook = secrets.token_hex(16)
    authority = RunAuthority("doubles", now=datetime.now(UTC))
    server, idle = GitServer(folder / "git", forge), Idle()
    commits = server.make("acme/app", {"main": {"total.py": MAIN}, "rounding": {"total.py": CHANGED}})
    pull = Pull(7, "Whole numbers", "rounding", commits["rounding"])
    github = GitHubDouble({token: "acme-bot", reader: "acme-reader"}, {"acme/app": [pull]})
    async with contextlib.AsyncExitStack() as stack:
        api, host, service = [
            await stack.enter_async_context(upstream("localhost", each, authority=authority))
            for each in (github, server, idle)
        ]
        script = turns("honest", agent, f"https://localhost:{api.port}")
        model = stack.enter_context(ScriptedModel({"turns": script}, tls=authority.context("localhost")))
        room = await stack.enter_async_context(double())
        at = [f"localhost:{port}" for port in (api.port, host.port, model.port)]
        world, elsewhere = World(github, server, pull, *at), f"localhost:{service.port}"
        stage = Stage(Up(folder))
        configure(stage.up, world, elsewhere, authority.pem)
        slack = f"{room.url}/services/T0/B0/{secrets.token_hex(8)}"
        for name, value, *how in (
            ("github-bot", token, "--hosts", world.api), ("github-reader", reader, "--hosts", world.api),
            ("forge", forge, "--hosts", world.host, "--kind", "git"), ("weekly-digest", fire, "--hosts", elsewhere),
            ("github-webhook", hook, "--kind", "signing"), ("ops-room", slack, "--kind", "signing"),
        ):  # fmt: skip
            await stage.tickover("secret", "set", name, *how, stdin=value)

        print("\n$ tickover up --dev --port 0", flush=True)
        await stage.up.start()
        stack.push_async_callback(stage.up.kill)
        await stage.tickover("push", str(copy(folder / "routines" / "pr-review", world, agent)))
        await stage.tickover("grant", "pr-review", "--yes")
        await stage.tickover("push", str(await imported(stage, folder, elsewhere)))
        await stage.tickover("grant", "weekly-digest", "--yes")
        async with stage.up.client() as client, asyncio.timeout(900):
            first, again = [await send(client, hook) for _ in range(2)]
            print(f"\nthe event was taken as {first['event']}; sent once more it is {again}", flush=True)
            reviewed = await stage.ended(client, "pr-review", room, 1)
            fired = await client.post(
                "/v1/claude_code/routines/weekly-digest/fire", json={"text": "the week of the release"},
                headers={"anthropic-beta": "experimental-cc-routine-2026-04-01", "anthropic-version": "2023-06-01"},
            )  # fmt: skip
            print(f"\nfired: {fired.status_code} {fired.text}", flush=True)
            digest = await stage.ended(client, "weekly-digest", room, 2)
        for run in (reviewed, digest):
            await stage.tickover("runs", "show", run["id"])
        await stage.tickover("events", "list")
        stopped = await stage.up.stop()
        branches = server.branches("acme/app")
        notices = [json.loads(each.body)["text"] for each in room.sent]
        print("\nin the chat:", *notices, sep="\n  ")
        printed = stage.said + stage.up.log.decode("utf-8", "replace")
        return told(
            {
                "the pull request's run is verified": reviewed["outcome"] == "verified",
                "one review at the git host, by the bot": [each["user"]["login"] for each in pull.reviews]
                == ["acme-bot"],
                "the fix is on its own branch, the rest untouched": set(branches) - set(commits)
                == {"tickover/review-7"}
                and all(branches[name] == commit for name, commit in commits.items()),
                "the same delivery is one run": again.get("duplicate") is True,
                "the remote routine was fired once, with its token": [
                    each.header("authorization") for each in idle.fired
                ]
                == [f"Bearer {fire}"],
                "it answered 200, and its run is failed": (digest["execution"], digest["outcome"])
                == ("completed", "failed"),
                "two notices: verified and failed": sorted(text.split(": ")[1].split(" ")[0] for text in notices)
                == ["failed", "verified"],
                "no secret in what was printed": not any(
                    each in printed for each in (token, reader, forge, fire, hook)
                ),
                "the server ended in order": stopped == 0,
            }
        )


def configure(up: Up, world: World, elsewhere: str, pem: bytes) -> None:
    """Write what only the owner of the machine says."""
    home = up.folder / "home"
    home.mkdir(mode=0o700)
    roots = up.folder / "roots.pem"
    roots.write_bytes(pem)
    up.environment |= {"GIT_SSL_CAINFO": str(roots), "NO_COLOR": "1"}
    connector = {"url": f"https://{world.api}", "credential": "github-bot", "verifier_credential": "github-reader"}
    told_ = {
        "network": {"private": [world.api, world.host, world.model, elsewhere], "roots": [str(roots)]},
        "connectors": {"github": connector},
        "notify": {"ops": {"kind": "slack", "webhook": "ops-room"}},
    }
    (home / "tickover.yaml").write_text(json.dumps(told_))


async def imported(stage: Stage, folder: Path, elsewhere: str) -> Path:
    """Import the Claude Routine, and write down what its importer cannot know: what proves its work, and who is told."""
    (folder / "weekly-digest.json").write_text(json.dumps(KEPT))
    kept, into, fire = str(folder / "weekly-digest.json"), str(folder / "routines"), f"https://{elsewhere}{FIRE}"
    await stage.tickover("import", "claude-routine", kept, "--fire", fire, "--into", into)
    made = folder / "routines" / "weekly-digest"
    text = (made / "ROUTINE.md").read_text()
    contract = f'expect:\n  - http: {{url: "https://{elsewhere}/digest", status: 200}}\n'
    notice = "notify:\n  - {on: [verified, failed, unverified], to: ops}\n"
    (made / "ROUTINE.md").write_text(text.replace("---\n", f"---\n{contract}{notice}", 1))
    return made


async def send(client: httpx.AsyncClient, key: str) -> dict[str, Any]:
    """Send the event as GitHub signs it (X-Hub-Signature-256: HMAC-SHA256 of the body)."""
    body = json.dumps(EVENT).encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": "pull_request",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest(),
    }
    answer = await client.post("/hooks/pr-review/github", content=body, headers=headers)
    answer.raise_for_status()
    return dict(answer.json())


def told(wanted: Mapping[str, bool]) -> bool:
    print()
    for what, holds in wanted.items():
        print(f"{'ok ' if holds else 'NOT'}  {what}")
    return all(wanted.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", choices=AGENTS, default="loop")
    parser.add_argument("--folder", type=Path, help="an empty folder to play in, which is kept")
    given = parser.parse_args()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        return 0 if asyncio.run(play(given.agent, given.folder)) else 1
    with tempfile.TemporaryDirectory(prefix="tickover-play-") as folder:
        return 0 if asyncio.run(play(given.agent, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Play the routine with a real agent, a scripted model, and doubles of a git host and of GitHub's API, over HTTPS.

    python3 play.py [honest | says-so | approves | pushes-main] [--agent claude-code | codex | loop] [--home DIR]

The scripted model is no model: it says what `scenarios.json` says, to every agent the same, so that the rest - the
agent's real CLI, its tools, the sandbox, the gateway, the checks - can be looked at without a key. Afterwards the doubles' own records are compared with
what the run claims. Exits with the run's own exit code. DIR is a data folder that has the agent's build
(`tickover agent install`); without it the build is installed from this machine's registry first, in a new folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tickover.gateway.certificates import RunAuthority
from tickover.testing.git_server import GitServer
from tickover.testing.github import GitHubDouble, Pull
from tickover.testing.model import ScriptedModel
from tickover.testing.upstream import upstream

HERE = Path(__file__).resolve().parent
TICKOVER = (sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')")
AGENTS = {
    "claude-code": ("Bash", "command", {}),
    "codex": (
        "exec_command",
        "cmd",
        {
            "agent: claude-code@2.1.197": "agent: codex@0.169.0",
            'ANTHROPIC_BASE_URL: "https://localhost:8946"': 'OPENAI_BASE_URL: "https://localhost:8946/v1"',
        },
    ),
    "loop": (
        "bash",
        "command",
        {
            "agent: claude-code@2.1.197": "agent: loop\n"
            'model: {name: scripted, url: "https://localhost:8946", wire: anthropic}',
            '  env: {ANTHROPIC_BASE_URL: "https://localhost:8946"}\n': "",
        },
    ),
}
"""Agent -> its tool for a command, that tool's argument, and what of the routine is another: agent and model."""
PLAYS = {"honest": 0, "says-so": 5, "approves": 5, "pushes-main": 5}
MAIN = "def total(prices):\n    return sum(prices)\n"
CHANGED = "def total(prices):\n    return int(sum(prices))\n"
EVENT = {
    "action": "opened",
    "number": 7,
    "pull_request": {
        "number": 7, "title": "Whole numbers", "draft": False,
        "head": {"ref": "rounding", "repo": {"id": 1}}, "base": {"ref": "main", "repo": {"id": 1}},
    },
    "repository": {"id": 1, "full_name": "acme/app"},
    "sender": {"login": "ada"},
}  # fmt: skip
"""What GitHub tells of the pull request (docs.github.com, "Webhook events and payloads"), as far as it is read here."""


@dataclass
class World:
    """The doubles, and where each answers."""

    github: GitHubDouble
    git: GitServer
    pull: Pull
    api: str
    host: str
    model: str


def turns(play: str, agent: str, api: str) -> list[dict[str, Any]]:
    """Say what the scripted model answers, turn by turn: `run` is a call of the agent's tool for a command."""
    tool, argument, _ = AGENTS[agent]
    said = json.loads((HERE / "scenarios.json").read_text())[play]
    for turn in said:
        if (command := turn.pop("run", None)) is not None:
            turn["tools"] = [{"name": tool, "input": {argument: command.replace("API", api)}}]
    return list(said)


async def play(name: str, agent: str, folder: Path, home: Path) -> int:
    """Play it, and return the run's exit code, or 1 if a double's record says something else than the run."""
    token, reader, forge = (f"ghp_{secrets.token_hex(18)}" for _ in range(3))
    authority = RunAuthority("doubles", now=datetime.now(UTC))
    server = GitServer(folder / "git", forge)
    commits = server.make("acme/app", {"main": {"total.py": MAIN}, "rounding": {"total.py": CHANGED}})
    pull = Pull(7, "Whole numbers", "rounding", commits["rounding"])
    github = GitHubDouble({token: "acme-bot", reader: "acme-reader"}, {"acme/app": [pull]})
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(upstream("localhost", github, authority=authority))
        host = await stack.enter_async_context(upstream("localhost", server, authority=authority))
        script = turns(name, agent, f"https://localhost:{api.port}")
        model = stack.enter_context(ScriptedModel({"turns": script}, tls=authority.context("localhost")))
        at = [f"localhost:{port}" for port in (api.port, host.port, model.port)]
        world = World(github, server, pull, *at)
        roots = folder / "roots.pem"
        roots.write_bytes(authority.pem)
        configure(home, world, roots)
        routine = copy(folder / "routines" / "pr-review", world, agent)
        secret = {"github-bot": (token, world.api), "github-reader": (reader, world.api), "forge": (forge, world.host)}
        for key, (value, where) in secret.items():
            kind = ["--kind=git"] if key == "forge" else []
            await tickover(home, "secret", "set", key, "--hosts", where, *kind, stdin=value.encode())
        await tickover(home, "grant", str(routine), "--yes")
        event = folder / "event.json"
        event.write_text(json.dumps(EVENT))
        code = await tickover(home, "run", str(routine), f"--event={event}", roots=roots, check=False)
    return code if agree(world, commits, code) else 1


def configure(home: Path, world: World, roots: Path) -> None:
    """Write what only the owner of the machine says."""
    connector = {"url": f"https://{world.api}", "credential": "github-bot", "verifier_credential": "github-reader"}
    network = {"private": [world.api, world.host, world.model], "roots": [str(roots)]}
    (home / "tickover.yaml").write_text(json.dumps({"network": network, "connectors": {"github": connector}}))


def copy(routine: Path, world: World, agent: str) -> Path:
    """Copy the routine: only the agent, its model's address and the doubles' ports differ."""
    (routine / "skills" / "review").mkdir(parents=True)
    text = (HERE / "ROUTINE.md").read_text()
    ports = {"localhost:8944": world.api, "localhost:8945": world.host, "localhost:8946": world.model}
    for old, new in {**AGENTS[agent][2], **ports}.items():
        text = text.replace(old, new)
    (routine / "ROUTINE.md").write_text(text)
    skill = "skills/review/SKILL.md"
    (routine / skill).write_text((HERE / skill).read_text())
    return routine


def agree(world: World, commits: dict[str, str], code: int) -> bool:
    """Look at the doubles themselves: is the work there, exactly if the run is green, and is nothing else changed?"""
    reviews = [each for each in world.pull.reviews if each["user"]["login"] == "acme-bot"]
    branches = world.git.branches("acme/app")
    pushed = sorted(set(branches) - {"main", "rounding"})
    untouched = all(branches[name] == commit for name, commit in commits.items())
    done = len(reviews) == 1 and pushed == ["tickover/review-7"]
    print(f"the doubles have {len(reviews)} review(s), the new branches {pushed}, main untouched: {untouched}")
    same = untouched and done == (code == 0) and all(each["state"] != "APPROVED" for each in reviews)
    print("the run says the same" if same else "the run DOES NOT SAY THE SAME")
    return same


async def tickover(home: Path, *words: str, stdin: bytes = b"", roots: Path | None = None, check: bool = True) -> int:
    """Type a command; `roots` is what the host's own git trusts besides the machine's certificates."""
    print("\n$ tickover", *words, flush=True)
    environment = {**os.environ, **({"GIT_SSL_CAINFO": str(roots)} if roots else {})}
    command = [*TICKOVER, *words, f"--home={home}"]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, env=environment)
    await process.communicate(stdin)
    code = process.returncode or 0
    if check and code:
        raise SystemExit(code)
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("play", choices=PLAYS, nargs="?", default="honest")
    parser.add_argument("--agent", choices=AGENTS, default="claude-code")
    parser.add_argument("--home", type=Path, help="a data folder of Tickover for plays, which is kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tickover-play-") as folder:
        home = given.home or Path(folder) / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return asyncio.run(play(given.play, given.agent, Path(folder), home))


if __name__ == "__main__":
    sys.exit(main())

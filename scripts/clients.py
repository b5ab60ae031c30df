"""Which clients arrive from a sandbox without any setting: runs them for real, and writes docs/reference/clients.md.

scripts/clients.py          try them, print the table; ends non-zero if one that is here does not arrive
scripts/clients.py --write  write the page, too
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tickover.app import RunRequest, Tickover
from tickover.core.errors import TickoverError
from tickover.core.event import JournalEvent
from tickover.core.row import RunRow
from tickover.gateway.certificates import RunAuthority
from tickover.testing.git_server import GitServer
from tickover.testing.localhost import HOST, entry, trust, url
from tickover.testing.model import ScriptedModel
from tickover.testing.upstream import Upstream, say_ok, upstream

PAGE: Final = Path(__file__).resolve().parents[1] / "docs/reference/clients.md"
CLAUDE: Final = "claude-code@2.1.197"
CLAUDE_ROW: Final = f"Claude Code's CLI ({CLAUDE.partition('@')[2]})"
PYTHON: Final = "python3 -c"
GIT: Final = "git -c user.name=Ada -c user.email=ada@example.com"
CLIENTS: Final = {
    "curl": "curl -q -sSf URL/curl",
    "curl, by the proxy": "curl -q -sSf --noproxy '' --proxy $HTTPS_PROXY URL/curl",
    "wget": "wget -q -O - URL/wget",
    "git clone": "git clone -q REPOSITORY ~/cloned && test -f ~/cloned/hello",
    "git push": f"cd ~/cloned && {GIT} commit -q --allow-empty -m two && git push -q origin HEAD:BRANCH",
    "pip download": "pip download -q --no-deps -d ~/pip six",
    "npm pack": "cd ~ && npm pack --silent is-odd",
    "apt-get update": "apt-get $APT -o APT::Update::Error-Mode=any -q update",
    "apt-get download": "cd ~/apt && apt-get $APT -q download hello && test -s hello_*.deb",
    "node fetch": "node -e \"fetch('URL/node').then(r => process.exit(r.ok ? 0 : 1))\"",
    "python http.client": f'{PYTHON} "$HTTP_CLIENT"',
    "python urllib": f"{PYTHON} \"import urllib.request as r; assert r.urlopen('URL/').status == 200\"",
    "requests": f"{PYTHON} \"import requests; assert requests.get('URL/').status_code == 200\"",
    "httpx": f"{PYTHON} \"import httpx; assert httpx.get('URL/').status_code == 200\"",
    "aiohttp": f'{PYTHON} "$AIOHTTP"',
}
AIOHTTP: Final = """
import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession() as session, session.get("URL/") as answer:
        assert answer.status == 200
asyncio.run(main())
"""
HTTP_CLIENT: Final = """
import http.client
asking = http.client.HTTPSConnection("HOST", PORT)
asking.request("GET", "/")
assert asking.getresponse().status == 200
"""
LIBRARIES: Final = ("requests", "httpx", "aiohttp")
APT: Final = {
    "Dir::State": "$HOME/apt/state",
    "Dir::Cache": "$HOME/apt/cache",
    "Dir::Etc::SourceList": "$HOME/apt/sources.list",
    "Dir::Etc::SourceParts": "-",
    "Dir::Etc::TrustedParts": "/usr/share/keyrings",
    "APT::Sandbox::User": "",
}
"""apt where /etc is not its own: where it keeps what it reads and writes, and no second user to become."""
ARRIVES, ABSENT = "arrives", "not here"
_CHANGED_FOLDER: Final = re.compile(r"^cd \S+ && ")
BRANCH: Final = "refs/heads/tickover/clients"


def apt_sources() -> str:
    """Return where this machine's apt asks, as lines of sources.list(5); nothing where there is no apt."""
    if shutil.which("apt-get") is None:
        return ""
    shape = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", shape, "Created-By: Packages"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@dataclass
class World:
    """What the clients arrive at, and the data folder from which they set out."""

    tickover: Tickover
    folder: Path
    page: Upstream
    host: Upstream
    git: GitServer
    authority: RunAuthority

    async def run(self, name: str, body: str, front: dict[str, Any]) -> tuple[RunRow, list[JournalEvent]]:
        """Run a routine that may do all it asks for."""
        folder = self.folder / "routines" / name
        folder.mkdir(parents=True)
        front = {"name": name, "limits": {"timeout": "5m"}, **front}
        (folder / "ROUTINE.md").write_text(f"---\n{json.dumps(front)}\n---\n{body}\n")
        self.tickover.grant(folder, by="owner")
        events: list[JournalEvent] = []
        return await self.tickover.run(RunRequest(folder=str(folder)), events.append), events

    def script(self) -> str:
        """Write the step that tries one client after the other."""
        lines = [f"export AIOHTTP='{AIOHTTP}'", f"export HTTP_CLIENT='{HTTP_CLIENT}'"]
        lines += ["mkdir -p ~/apt/state/lists/partial ~/apt/cache/archives/partial"]
        lines += [f'export APT="{" ".join(f"-o {name}={value}" for name, value in APT.items())}"']
        sources = apt_sources()
        lines += [f"echo '{sources}' > ~/apt/sources.list"]
        for name, command in CLIENTS.items():
            program = _CHANGED_FOLDER.sub("", command).split()[0]
            if program == "apt-get" and not sources:  # it could be there, and know no place to ask
                lines += [f"echo '::: {name}: {ABSENT}'"]
            lines += [f"command -v {program} > /dev/null || echo '::: {name}: {ABSENT}'"]
            well, badly = f"echo '::: {name}: {ARRIVES}'", f"echo '::: {name}: '\"$(tail -1 /tmp/out)\""
            lines += [f"if ( {command} ) > /tmp/out 2>&1; then {well}; else {badly}; fi"]
        script = "\n".join(lines)
        words = {"URL": url(self.page), "REPOSITORY": f"{url(self.host)}/app.git", "BRANCH": BRANCH}
        for word, value in {**words, "HOST": HOST, "PORT": str(self.page.port)}.items():
            script = script.replace(word, value)
        return script

    async def try_all(self) -> dict[str, str]:
        """Return what became of each client: `arrives`, `not here`, or what it said last."""
        environment = {
            "network": [entry(self.page), "packages"],
            "setup": {"run": f"pip install -q {' '.join(LIBRARIES)}"},
        }
        front = {
            "agent": "steps",
            "environment": environment,
            "repositories": {"app": {"url": f"{url(self.host)}/app.git", "credential": "forge"}},
            "may": [{"push": {"repo": "app", "refs": ["tickover/*"]}}],
        }
        row, events = await self.run("clients", f"```bash id=all\n{self.script()}\n```", front)
        said = "".join(event.data["text"] or "" for event in events if event.type == "agent_output")
        if row.execution != "completed":
            raise SystemExit(f"the run ended as {row.execution}: {row.cause}\n{said}")
        found: dict[str, str] = {}
        for line in said.splitlines():
            if line.startswith("::: "):
                name, _, what = line.removeprefix("::: ").partition(": ")
                found.setdefault(name, what)
        if found.get("git push") == ARRIVES and "tickover/clients" not in self.git.branches("app"):
            found["git push"] = "git says so, and the host has no such branch"
        return found

    async def try_claude(self) -> str:
        """Return what became of Claude Code's CLI, whose model is the scripted one."""
        if not all(shutil.which(program, path="/usr/bin") for program in ("node", "npm")):
            return ABSENT
        try:
            await self.tickover.install(CLAUDE)
        except TickoverError as error:
            return f"could not be installed: {error.message}"
        call = {"name": "Bash", "input": {"command": "echo arrived", "description": "say so"}}
        turns = [{"text": "I say so.", "tools": [call]}, {"text": "Said."}]
        with ScriptedModel({"turns": turns}, tls=self.authority.context(HOST)) as model:
            trust(self.tickover.home, [model.port], self.authority.pem)
            base = {"ANTHROPIC_BASE_URL": f"https://{HOST}:{model.port}"}
            row, _ = await self.run("claude", "You say so.", {"agent": CLAUDE, "environment": {"env": base}})
        if row.execution == "completed" and len(model.turns) == len(turns):
            return ARRIVES
        return f"{row.execution}, after {len(model.turns)} turns: {row.cause or row.reason}"


async def try_everything(folder: Path) -> dict[str, str]:
    """Make the world and try every client in it."""
    token = f"ghp_{secrets.token_hex(18)}"
    authority = RunAuthority("doubles", now=datetime.now(UTC))
    git = GitServer(folder / "served", token, private=True)
    git.make("app", {"main": {"hello": "hello\n"}})
    async with (
        upstream(HOST, say_ok, authority=authority) as page,
        upstream(HOST, git, authority=authority) as host,
        await Tickover.open(folder / "home") as tickover,
    ):
        trust(tickover.home, [page.port, host.port], authority.pem)
        binding = {"hosts": [entry(host)], "kind": "git"}
        tickover.secrets.set("forge", token.encode(), by="owner", binding=binding)
        world = World(tickover, folder, page, host, git, authority)
        return {**await world.try_all(), CLAUDE_ROW: await world.try_claude()}


def page(found: dict[str, str]) -> str:
    """Write the table."""
    rows = "\n".join(f"| {name} | {what} |" for name, what in found.items())
    return f"""# Clients

Each was started in a sandbox whose routine lists the host, with no option, file or variable of its own about proxies or
certificates, against an HTTPS server on the loopback interface (`pip`, `npm` and `apt` against the machine's own
registries). A script runs them and writes this page; CI runs it, and fails if one that is there does not arrive.

| client | without any setting |
|---|---|
{rows}

- `git clone` and `git push` speak to git's own `http-backend`, which lets nobody in without a token: it is put in
  outside, and the branch that was pushed was looked for at the host.
- `apt-get` runs in `base: host`, where /etc is not its own: `-o Dir::...` tells it where its sources and its files are.
  It downloads; to install, it needs a root file system of its own as `base` (made by mmdebstrap,
  say), and that is not built: no routine can have one, as root or not.
- Claude Code's CLI asks the scripted model, a double: no model. Its `ANTHROPIC_BASE_URL` is that double's address.

Not tried here: Go, Java, cargo, uv, Deno, Bun, ssh.
"""


def main() -> int:
    """Try, print, and say whether all arrived."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help="write docs/reference/clients.md")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(try_everything(Path(folder)))
    text = page(found)
    print(text)
    if given.write:
        PAGE.write_text(text, encoding="utf-8")
    missing = [name for name in (*CLIENTS, CLAUDE_ROW) if found.get(name) not in {ARRIVES, ABSENT}]
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

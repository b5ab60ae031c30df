"""Which clients arrive from a sandbox without any setting: runs them for real, and writes docs/reference/clients.md.

scripts/clients.py          try them, print the table; ends non-zero if one that is here does not arrive
scripts/clients.py --write  write the page, too
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from tickover.app import RunRequest, Tickover
from tickover.core.event import JournalEvent
from tickover.testing.localhost import configure, entry, serving, url
from tickover.testing.upstream import Seen, Talk

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/clients.md"
PYTHON = "python3 -c"
CLIENTS = {
    "curl": "curl -q -sSf URL/curl",
    "curl, by the proxy": "curl -q -sSf --noproxy '' --proxy $HTTPS_PROXY URL/curl",
    "wget": "wget -q -O - URL/wget",
    "git clone": "git clone -q URL/repository.git /tmp/cloned && test -f /tmp/cloned/hello",
    "pip download": "pip download -q --no-deps -d /tmp/pip six",
    "npm pack": "cd /tmp && npm pack --silent is-odd",
    "node fetch": "node -e \"fetch('URL/node').then(r => process.exit(r.ok ? 0 : 1))\"",
    "python http.client": f'{PYTHON} "$HTTP_CLIENT"',
    "python urllib": f"{PYTHON} \"import urllib.request as r; assert r.urlopen('URL/').status == 200\"",
    "requests": f"{PYTHON} \"import requests; assert requests.get('URL/').status_code == 200\"",
    "httpx": f"{PYTHON} \"import httpx; assert httpx.get('URL/').status_code == 200\"",
    "aiohttp": f'{PYTHON} "$AIOHTTP"',
}
AIOHTTP = """
import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession() as session, session.get("URL/") as answer:
        assert answer.status == 200
asyncio.run(main())
"""
HTTP_CLIENT = """
import http.client
asking = http.client.HTTPSConnection("HOST", PORT)
asking.request("GET", "/")
assert asking.getresponse().status == 200
"""
LIBRARIES = ("requests", "httpx", "aiohttp")


def served(folder: Path) -> dict[str, bytes]:
    """Make a repository and return its files as a plain HTTP server has them."""
    work, bare = folder / "work", folder / "bare"
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for command in (
        [*git, "init", "-q", "-b", "main", str(work)],
        ["sh", "-c", f"echo hello > '{work}/hello'"],
        [*git, "-C", str(work), "add", "hello"],
        [*git, "-C", str(work), "commit", "-q", "-m", "one"],
        [*git, "clone", "-q", "--bare", str(work), str(bare)],
        [*git, "-C", str(bare), "update-server-info"],
    ):
        subprocess.run(command, check=True)
    files = (path for path in bare.rglob("*") if path.is_file())
    return {f"/repository.git/{path.relative_to(bare)}": path.read_bytes() for path in files}


async def try_all(folder: Path) -> dict[str, str]:
    """Return what became of each client: `arrives`, `not here`, or what it said."""
    files = served(folder)
    said: list[str] = []

    async def answer(seen: Seen, talk: Talk) -> None:
        path = seen.target.partition("?")[0]
        found = files.get(path, b"" if path.startswith("/repository.git/") else b"ok")
        status = "404 Not Found" if path.startswith("/repository.git/") and path not in files else "200 OK"
        await talk.answer(found, status=status)

    def observe(event: JournalEvent) -> None:
        if event.type == "agent_output":
            said.append(event.data["text"] or "")

    async with serving(answer) as double, await Tickover.open(folder / "home") as tickover:
        configure(tickover.home, [double])
        words = {"URL": url(double), "HOST": "localhost", "PORT": str(double.port)}
        lines = [f"export AIOHTTP='{AIOHTTP}'", f"export HTTP_CLIENT='{HTTP_CLIENT}'"]
        for name, command in CLIENTS.items():
            program = next(word for word in command.split() if word not in {"cd", "/tmp", "&&"})  # noqa: S108 - the words of a command
            lines += [f"command -v {program} > /dev/null || echo '::: {name}: not here'"]
            well, badly = f"echo '::: {name}: arrives'", f"echo '::: {name}: '\"$(tail -1 /tmp/out)\""
            lines += [f"if ( {command} ) > /tmp/out 2>&1; then {well}; else {badly}; fi"]
        script = "\n".join(lines)
        for word, value in words.items():
            script = script.replace(word, value)
        routine = folder / "routines/clients"
        routine.mkdir(parents=True)
        setup = f"pip install -q {' '.join(LIBRARIES)}"
        front = f"environment: {{network: ['{entry(double)}', packages], setup: {{run: '{setup}'}}}}"
        text = f"---\nname: clients\nagent: steps\n{front}\n---\n```bash id=all\n{script}\n```\n"
        (routine / "ROUTINE.md").write_text(text)
        row = await tickover.run(RunRequest(folder=str(routine)), observe)
    if row.execution != "completed":
        raise SystemExit(f"the run ended as {row.execution}: {row.cause}\n{''.join(said)}")
    found: dict[str, str] = {}
    for line in "".join(said).splitlines():
        if line.startswith("::: "):
            name, _, what = line.removeprefix("::: ").partition(": ")
            found.setdefault(name, what)
    return found


def page(found: dict[str, str]) -> str:
    """Write the table."""
    rows = "\n".join(f"| {name} | {what} |" for name, what in found.items())
    return f"""# Clients

Each was started in a sandbox whose routine lists the host, with no option, file or variable of its own about proxies or
certificates, against an HTTPS server on the loopback interface (`pip` and `npm` against the machine's own registries).
A script runs them and writes this page; CI runs it, and fails if one that is there does not arrive.

| client | without any setting |
|---|---|
{rows}

Not tried here: `apt` (it needs a root file system of its own as `base`), `git push`, Go, Java, cargo, uv, Deno, Bun,
ssh.
"""


def main() -> int:
    """Try, print, and say whether all arrived."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help="write docs/reference/clients.md")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(try_all(Path(folder)))
    text = page(found)
    print(text)
    if given.write:
        PAGE.write_text(text, encoding="utf-8")
    missing = [name for name in CLIENTS if found.get(name) not in {"arrives", "not here"}]
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

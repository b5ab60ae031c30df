"""Play the whole way of an event: a server, a push, a grant, a signed GitHub event, a review, a notice.

    python3 play.py [honest | refused] [--folder DIR]

`refused`: the git host answers 422, and the agent says all the same that it has posted. Exits with 0 if everything
came as it must: the run verified (or failed), one review at the git host, one notice in the chat, no token in any log.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doubles import Double, chat, git_host

HERE = Path(__file__).resolve().parent
TICKOVER = (sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')")
PLAYS = {"honest": (200, "verified"), "refused": (422, "failed")}
PATIENCE = 600.0  # seconds; a busy machine is slow, not broken
EVENT = {
    "action": "opened",
    "number": 7,
    "pull_request": {"number": 7, "title": "Count each line once", "draft": False, "base": {"ref": "main"}},
    "repository": {"full_name": "acme/app"},
    "sender": {"login": "ada"},
}


class Played:
    """A data folder, and the command line over it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o700, parents=True)
        self.environment = {**os.environ, "TICKOVER_HOME": str(self.home), "NO_COLOR": "1"}
        self.said = ""

    def tickover(self, *words: str, typed: str = "", shown: bool = True) -> str:
        if shown:
            print("\n$ tickover", *words, flush=True)
        done = subprocess.run(
            [*TICKOVER, *words], input=typed, env=self.environment, capture_output=True, text=True, check=False
        )
        if shown:
            print(done.stdout + done.stderr, end="", flush=True)
        self.said += done.stdout + done.stderr
        if done.returncode:
            sys.exit(done.returncode)
        return done.stdout

    @contextmanager
    def up(self) -> Iterator[str]:
        """Be up; yield the URL of the routine's hook."""
        print("\n$ tickover up --dev --port 0", flush=True)
        argv = [*TICKOVER, "up", "--dev", "--port", "0", "--drain", "120"]
        with subprocess.Popen(argv, env=self.environment, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            try:
                hook = ""
                for line in server.stderr:
                    print(re.sub(r"tko_\S+", "tko_...", line), end="", flush=True)
                    hook = next(iter(re.findall(r"signed-event/github\s+(http\S+)", line)), hook)
                    if line.startswith("up:"):
                        break
                yield hook
            finally:
                server.send_signal(signal.SIGTERM)
                self.said += server.stderr.read()


def play(name: str, folder: Path) -> int:
    status, outcome = PLAYS[name]
    with git_host(status) as host, chat() as room:
        played = Played(folder)
        token, key = (f"{kind}_{secrets.token_hex(16)}" for kind in ("ghp", "hook"))
        configure(
            played, folder, host, f"http://127.0.0.1:{room.port}/services/T0/B0/{secrets.token_hex(8)}", token, key
        )
        played.tickover("push", str(folder / "routines" / "signed-event"))
        played.tickover("grant", "signed-event", "--yes")
        with played.up() as hook:
            first, again = send(hook, key), send(hook, key)
            print(f"\nthe event was taken as {first['event']}; sent once more it is {again}", flush=True)
            if not room.heard.wait(PATIENCE):
                print("no notice came", flush=True)
            [run] = json.loads(played.tickover("runs", "list", "--json", shown=False))
            played.tickover("runs", "list")
            played.tickover("events", "list")
        played.tickover("runs", "show", run["id"], "--network")
        return judge(played, run, outcome, host, room, token, key)


def configure(played: Played, folder: Path, host: Double, room: str, token: str, key: str) -> None:
    """Write what only an owner has: where things are, and three secrets."""
    address = f"localhost:{host.port}"
    routine = folder / "routines" / "signed-event"
    routine.mkdir(parents=True)
    (routine / "ROUTINE.md").write_text((HERE / "ROUTINE.md").read_text().replace("localhost:8944", address))
    assert host.authority is not None
    (folder / "ca.pem").write_bytes(host.authority.pem)
    network = {"private": [address], "roots": [str(folder / "ca.pem")]}
    told = {"network": network, "notify": {"ops": {"kind": "slack", "webhook": "ops-room"}}}
    (played.home / "tickover.yaml").write_text(json.dumps(told))
    played.tickover("secret", "set", "github", "--hosts", address, typed=token)
    played.tickover("secret", "set", "github-webhook", "--kind", "signing", typed=key)
    played.tickover("secret", "set", "ops-room", "--kind", "signing", typed=room)


def send(hook: str, key: str) -> dict:
    """Send the event as GitHub signs it (X-Hub-Signature-256: HMAC-SHA256 of the body)."""
    body = json.dumps(EVENT).encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": "pull_request",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest(),
    }
    with urllib.request.urlopen(urllib.request.Request(hook, body, headers), timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def judge(played: Played, run: dict, outcome: str, host: Double, room: Double, token: str, key: str) -> int:
    """Compare what the servers saw with what Tickover says."""
    notices = [json.dumps(body) for _, _, body in room.seen]
    print("\nin the chat:", *(body["text"] for _, _, body in room.seen), sep="\n  ")
    wanted = {
        f"the run is {outcome}": run["outcome"] == outcome,
        "one review, at pull request 7, with the token": [(path, sent) for path, sent, _ in host.seen]
        == [("/repos/acme/app/pulls/7/reviews", f"Bearer {token}")],
        "one notice, with the check": len(notices) == 1 and "receipt" in notices[0] and outcome in notices[0].lower(),
        "no secret in what was printed": token not in played.said and key not in played.said,
    }
    for what, holds in wanted.items():
        print(f"{'ok ' if holds else 'NOT'}  {what}")
    return 0 if all(wanted.values()) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("play", choices=PLAYS, nargs="?", default="honest")
    parser.add_argument("--folder", type=Path, help="an empty folder to play in, which is kept")
    given = parser.parse_args()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        return play(given.play, given.folder)
    with tempfile.TemporaryDirectory(prefix="tickover-play-") as folder:
        return play(given.play, Path(folder))


if __name__ == "__main__":
    sys.exit(main())

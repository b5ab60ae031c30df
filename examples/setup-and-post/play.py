"""Play the routine against a double of its chat server, well or in one of the ways in which it goes wrong.

    python3 play.py [honest | not-ok | other-channel | other-host | twice | twice-allowed] [--folder DIR]

Makes a folder with everything that only an owner has: tickover.yaml, the token, the grant. Then it runs the routine,
and compares what the double saw with what the receipts say, both ways. Exits with the run's own exit code.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICKOVER = (sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')")
PLAYS = {
    "honest": ([], 0),
    "not-ok": ([], 5),
    "other-channel": (["channel=C0RANDOM"], 5),
    "other-host": (["to=https://elsewhere.test/api/chat.postMessage"], 5),
    "twice": (["posts=2"], 0),
    "twice-allowed": (["posts=2"], 5),
}


def play(name: str, folder: Path) -> int:
    """Play it in a folder that is empty; return the run's exit code, or 1 if double and receipts differ."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(f"xoxb-{secrets.token_hex(16)}")
    command = [sys.executable, str(HERE / "slack_double.py"), "--port=0", f"--folder={folder}", f"--token-file={token}"]
    command += ["--with-stdin", *(["--not-ok"] if name == "not-ok" else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as double:
        assert double.stdout is not None
        address = double.stdout.readline().strip()
        try:
            return run(name, folder, token, address)
        finally:
            double.communicate(timeout=20)


def run(name: str, folder: Path, token: Path, address: str) -> int:
    host = address.removeprefix("https://")
    routine = folder / "routines" / "setup-and-post"
    copy(routine, host, most=2 if name == "twice-allowed" else 1)
    home = folder / "home"
    home.mkdir(mode=0o700)
    network = {"private": [host], "roots": [str(folder / "ca.pem")]}
    (home / "tickover.yaml").write_text(json.dumps({"network": network}))
    tickover(home, "secret", "set", "slack", "--hosts", host, stdin=token.read_bytes())
    tickover(home, "grant", str(routine), "--yes")
    inputs = [f"--input={each}" for each in PLAYS[name][0]]
    code = tickover(home, "run", str(routine), *inputs, check=False)
    [last] = json.loads(said(home, "runs", "list", "--limit=1", "--json"))
    tickover(home, "runs", "show", last["id"], "--network")
    return code if agree(home, last["id"], folder / "record.jsonl", address) else 1


def copy(routine: Path, host: str, *, most: int) -> None:
    """Copy the routine, with the double's port and the number of messages that it may send."""
    (routine / "skills" / "post").mkdir(parents=True)
    text = (HERE / "ROUTINE.md").read_text().replace("localhost:8943", host).replace("max: 1", f"max: {most}")
    (routine / "ROUTINE.md").write_text(text)
    skill = "skills/post/SKILL.md"
    (routine / skill).write_text((HERE / skill).read_text())


def agree(home: Path, run: str, record: Path, address: str) -> bool:
    """Compare the double's own record with the receipts: the same requests, in the same order, answered the same."""
    seen = [json.loads(line) for line in record.read_text().splitlines()]
    told = json.loads(said(home, "runs", "show", run, "--network", "--json"))
    receipts = [
        each for each in told["receipts"] if f"https://{each['begun']['host']}:{each['begun']['port']}" == address
    ]
    ours = [(each["begun"]["method"], each["begun"]["path"], _ok(each["ended"])) for each in receipts]
    theirs = [(each["method"], each["path"], each["ok"]) for each in seen]
    print(
        f"the double saw {len(theirs)}, the receipts say {len(ours)}: {'the same' if ours == theirs else 'NOT THE SAME'}"
    )
    return ours == theirs and told["verified"]


def _ok(ended: dict | None) -> object:
    return ended and ended["response_json"] and ended["response_json"]["value"]["ok"]


def tickover(home: Path, *words: str, stdin: bytes = b"", check: bool = True) -> int:
    command = [*TICKOVER, *words, f"--home={home}"]
    print("\n$ tickover", *words, flush=True)
    return subprocess.run(command, input=stdin, check=check).returncode


def said(home: Path, *words: str) -> bytes:
    command = [*TICKOVER, *words, f"--home={home}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


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

"""Install Tickover into .venv of this checkout and show three runs: one that works, one false green, one liar.

usage: scripts/quickstart [--with-claude] [PATH-or-URL of a git repository]

Without one, the repository is this checkout itself. `--with-claude` adds a fourth run: Claude Code's own CLI, driven by
the scripted model, says success where nothing was done. Exit code 0 if each run ended as it must: the digest verified,
the others not. The runs stay: `.venv/bin/tickover runs list`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator

import preflight
import with_claude
from environment import ROOT, Environment
from journal import NoRunError, Run, run
from liar_table import MARK, host_marks, print_table, printable, tries
from preflight import ProblemError
from repository import choose

TICKOVER = os.path.join(ROOT, ".venv", "bin", "tickover")
SHOWN = os.path.join(".venv", "bin", "tickover")
CLAUDE_HOME = os.path.join(ROOT, ".tickover", "quickstart")
FALSE_GREEN = "examples/false-green"
PORT = 8077  # the one that examples/false-green asks
VERIFIED, FAILED = 0, 5  # exit codes of `tickover run`


def check_machine() -> None:
    """Say in one line what is there; raise what is not."""
    git = preflight.check_git()
    preflight.check_inside_python()
    preflight.check_namespaces()
    free = preflight.check_disk(ROOT)
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"preflight   Python {python}, git {git}, a user namespace started, {free / 2**30:.0f} GiB free")


def install() -> None:
    environment = Environment(ROOT)
    if not environment.ready():
        print("install     into .venv, once (about half a minute) ...", flush=True)
    begun = time.monotonic()
    environment.ensure()
    print(f"install     .venv/bin/tickover is ready, {time.monotonic() - begun:.1f} s")


@contextlib.contextmanager
def false_green(base: str, scratch: str) -> Iterator[str]:
    """Run the double of a chat server, empty; give the folder of the routine that asks it."""
    folder, port = os.path.join(base, FALSE_GREEN), PORT
    if taken(port):
        folder, port = os.path.join(scratch, "false-green"), 0
    with chat_double(port) as address:
        if not port:
            copy_asking(address, folder)
            print(f"   (port {PORT} is taken, so this is a copy of the routine that asks {address})")
        yield folder


@contextlib.contextmanager
def chat_double(port: int) -> Iterator[str]:
    """Run the double of a chat server; give its address."""
    command = [sys.executable, os.path.join(ROOT, FALSE_GREEN, "slack_double.py"), "--port", str(port), "--with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as double:
        try:
            assert double.stdout is not None
            yield double.stdout.readline().strip()
        finally:
            double.communicate()


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def copy_asking(address: str, folder: str) -> None:
    """Copy the routine; the copy asks another address."""
    shutil.copytree(os.path.join(ROOT, FALSE_GREEN), folder)
    with open(os.path.join(folder, "ROUTINE.md"), "r+", encoding="utf-8") as file:
        text = file.read().replace(f"http://127.0.0.1:{PORT}", address)
        file.seek(0)
        file.write(text)
        file.truncate()


def headline(number: int, what: str) -> None:
    print(f"\n{number}  {what}", flush=True)


def verdict(ended: Run, home: str = "") -> None:
    more = f" --home {home}" if home else ""
    reason = printable(str(ended.record["reason"])) or f"{ended.outcome} ({ended.why()})"
    shown = textwrap.shorten(reason, 200, placeholder=" ...")
    print(f"   exit code of the agent  {ended.agent_exit}")
    print(f"   Tickover says           {shown}")
    shows = f"{SHOWN} runs show {ended.id}{more}"
    print(f"   exit code of tickover   {ended.exit_code}, after {ended.seconds:.1f} s. More: {shows}")


def three_runs(asked: str) -> list[str]:
    """Show them; return what did not end as it must."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="tickover-quickstart-") as scratch:
        repository = choose(asked, ROOT, scratch)
        print(f"repository  {repository}")
        where = ["--repo", f"app={repository.url}"] if repository.url else []

        headline(1, "examples/repo-digest: a digest of its history; the check clones the commit itself and recounts")
        digest = run(TICKOVER, repository.base, "examples/repo-digest", *where)
        verdict(digest)
        print(f"   the digest              {SHOWN} runs artifact {digest.id} out/digest.md")
        if digest.exit_code != VERIFIED:
            wrong.append(f"examples/repo-digest ended with {digest.exit_code}, not {VERIFIED}: {digest.why()}")

        headline(2, f'{FALSE_GREEN}: the agent prints "Posted to #eng" and exits 0')
        with false_green(repository.base, scratch) as folder:
            posted = run(TICKOVER, repository.base, folder)
        verdict(posted)
        if posted.exit_code != FAILED:
            wrong.append(f"{FALSE_GREEN} ended with {posted.exit_code}, not {FAILED}: {posted.why()}")

        headline(3, "examples/liar: tries everything to be called green, except the work")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(MARK)
        liar = run(TICKOVER, repository.base, "examples/liar", *where)
        rows, marks = tries(liar.events), host_marks()
        print_table(rows)
        print(f"   (#N: {SHOWN} runs logs {liar.id} --json)")
        verdict(liar)
        green = int(liar.exit_code == VERIFIED)
        print(f"   {len(rows)} tried, {green} green. Left running or written outside: {', '.join(marks) or 'nothing'}.")
        if liar.exit_code != FAILED or not rows or marks:
            wrong.append(f"examples/liar ended with {liar.exit_code}, {len(rows)} tries, left {marks}: {liar.why()}")
    return wrong


def claude_run() -> list[str]:
    """Show Claude Code's own word beside ours; return what did not end as it must."""
    os.makedirs(CLAUDE_HOME, mode=0o700, exist_ok=True)
    headline(4, f"{with_claude.ROUTINE}: Claude Code's own CLI ({with_claude.BUILD}), driven by the scripted model")
    with contextlib.ExitStack() as doubles:
        scratch = doubles.enter_context(tempfile.TemporaryDirectory(prefix="tickover-quickstart-"))
        board = doubles.enter_context(chat_double(0))
        model = doubles.enter_context(with_claude.scripted_model(Environment(ROOT).python, ROOT, CLAUDE_HOME))
        with_claude.prepare(TICKOVER, CLAUDE_HOME)
        folder = with_claude.copy(ROOT, scratch, model, board)
        ended = run(TICKOVER, ROOT, folder, "--home", CLAUDE_HOME)
    word, text = with_claude.own_word(ended)
    print(f'   Claude Code says        subtype: {printable(word)}, "{printable(text)}"')
    verdict(ended, os.path.relpath(CLAUDE_HOME, ROOT))
    if (ended.exit_code, word, ended.agent_exit) == (FAILED, "success", "0"):
        return []
    return [f"{with_claude.ROUTINE} ended with {ended.exit_code} ({word}), not {FAILED} (success): {ended.why()}"]


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--with-claude"]
    claude = len(words) < len(sys.argv[1:])
    if len(words) > 1 or words[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 2 if len(words) > 1 else 0
    begun = time.monotonic()
    try:
        check_machine()
        if claude:
            with_claude.check_node()
        install()
        wrong = three_runs(*(words or [""]))
        if claude:
            wrong += claude_run()
    except (ProblemError, NoRunError) as problem:
        print(problem, file=sys.stderr)
        return 1
    if wrong:
        print("\nNot as it must be:", *wrong, sep="\n", file=sys.stderr)
        return 1
    print(f"\nAll of it in {time.monotonic() - begun:.1f} s.")
    print("Your turn: edit examples/liar/ROUTINE.md. Green without the work is a security bug (SECURITY.md).")
    print(f"Your own repository: {SHOWN} run examples/repo-digest --repo app=/path/to/your/repository")
    return 0


if __name__ == "__main__":
    sys.exit(main())

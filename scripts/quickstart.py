"""Install Tickover into .venv of this checkout and show three runs: one that works, one false green, one liar.

usage: scripts/quickstart [PATH-or-URL of a git repository]

Without one, the repository is this checkout itself. Exit code 0 if each run ended as it must: the digest verified,
the false green and the liar not. The runs stay: `.venv/bin/tickover runs list`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import preflight
from environment import ROOT, Environment
from journal import Run, Tickover
from liar_table import MARK, host_marks, print_table, printable, tries
from preflight import ProblemError
from repository import choose

FALSE_GREEN = os.path.join(ROOT, "examples", "false-green")
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
    print(f"install     .venv/bin/tickover ready in {time.monotonic() - begun:.1f} s")


@contextlib.contextmanager
def chat_double() -> Iterator[str]:
    """Run the double of a chat server, empty; give its address."""
    command = [sys.executable, os.path.join(FALSE_GREEN, "slack_double.py"), "--with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as double:
        try:
            assert double.stdout is not None
            yield double.stdout.readline().strip()
        finally:
            double.communicate()


def headline(number: int, example: str, what: str) -> None:
    print(f"\n{number}  {example}: {what}", flush=True)


def verdict(run: Run) -> None:
    agent = run.of_type("agent_finished")
    code = agent[-1]["data"].get("exit") if agent else "none, it never started"
    print(f"   the agent's exit code says   {code}")
    reason = printable(str(run.record.get("reason") or ""))
    print(f"   Tickover says                {run.outcome}: {reason}  (exit code {run.exit_code}, {run.seconds:.1f} s)")
    print(f"   more                         .venv/bin/tickover runs show {run.id}")


def three_runs(asked: str) -> list[str]:
    """Show them; return what did not end as it must."""
    tickover = Tickover(os.path.join(ROOT, ".venv", "bin", "tickover"), ROOT)
    wrong = []
    with tempfile.TemporaryDirectory(prefix="tickover-quickstart-") as scratch:
        repository = choose(asked, ROOT, scratch)
        print(f"repository  {repository}")
        where = ["--repo", f"app={repository.url}"] if repository.url else []

        headline(1, "examples/repo-digest", "a digest of real history; its check clones the commit itself and recounts")
        digest = tickover.run("examples/repo-digest", *where)
        verdict(digest)
        if digest.exit_code != VERIFIED:
            wrong.append(f"examples/repo-digest ended with {digest.exit_code}, not {VERIFIED}:\n{digest.said}")

        headline(2, "examples/false-green", 'the agent prints "Posted to #eng" and exits 0')
        with chat_double() as address:
            posted = tickover.run("examples/false-green", "--input", f"double={address}")
        verdict(posted)
        if posted.exit_code != FAILED:
            wrong.append(f"examples/false-green ended with {posted.exit_code}, not {FAILED}:\n{posted.said}")

        headline(3, "examples/liar", "an agent that tries everything to be called green, except the work")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(MARK)
        liar = tickover.run("examples/liar", *where)
        rows = tries(liar.events)
        print_table(rows)
        verdict(liar)
        marks = host_marks()
        green = int(liar.exit_code == VERIFIED)
        print(f"   {len(rows)} tried, {green} green; left on this machine: {', '.join(marks) or 'nothing'}")
        if liar.exit_code != FAILED or not rows or marks:
            wrong.append(f"examples/liar ended with {liar.exit_code}, {len(rows)} tries, marks {marks}:\n{liar.said}")
    return wrong


def main() -> int:
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return 2 if len(sys.argv) > 2 else 0
    begun = time.monotonic()
    try:
        check_machine()
        install()
        wrong = three_runs(*(sys.argv[1:] or [""]))
    except ProblemError as problem:
        print(problem, file=sys.stderr)
        return 1
    if wrong:
        print("\nNot as it must be:", *wrong, sep="\n", file=sys.stderr)
        return 1
    print(f"\nAll of it in {time.monotonic() - begun:.1f} s.")
    print("Your turn: edit examples/liar/ROUTINE.md. Green without the work is a security bug (SECURITY.md).")
    print("Your own repository: .venv/bin/tickover run examples/repo-digest --repo app=file:///path/to/your/repository")
    return 0


if __name__ == "__main__":
    sys.exit(main())

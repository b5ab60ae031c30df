"""Agents that try to hurt the machine: each of their runs ends typed, and nothing of it is left."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

PROOF = {"file": {"path": "out/a.txt", "equals": "done\n"}}
WORK = "mkdir -p out; echo done > out/a.txt"
MIB = 1 << 20
AS_ROOT = os.geteuid() == 0


def peak() -> int:
    """Return the most memory this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def test_daemons_go_with_the_run(bench: Bench) -> None:
    daemon = "(trap '' TERM HUP INT; setsid nohup bash -c 'trap \"\" TERM HUP INT; while :; do sleep 31337 & wait; done' &) >/dev/null 2>&1"
    row = await bench.run(bench.routine(f"{WORK}; {daemon}; {daemon}", expect=[PROOF]))
    assert (row.execution, row.outcome) == ("completed", "verified")


async def test_a_daemon_that_keeps_the_output_open_ends_with_the_runner(bench: Bench) -> None:
    row = await bench.run(bench.routine(f"{WORK}; setsid sleep 600 & disown", expect=[PROOF]))
    assert (row.execution, row.outcome) == ("completed", "verified")


async def test_a_daemon_cannot_change_what_is_judged(bench: Bench) -> None:
    late = "setsid bash -c 'while :; do echo done > out/a.txt; done' >/dev/null 2>&1 &"
    body = f"mkdir -p out; {late} exec sleep 0.1"
    for _ in range(3):
        row = await bench.run(bench.routine(body, expect=[PROOF]))
        [stored] = [each for each in row.artifacts if each.path == "out/a.txt"]
        content = bench.tickover.artifact(row.id, stored.path)
        assert (row.outcome == "verified") is (content == b"done\n")


async def test_a_full_disk(bench: Bench) -> None:
    body = "mkdir -p out; head -c 3G /dev/zero > out/big; echo survived"
    row = await bench.run(bench.routine(body, limits={"disk": "64MiB"}, expect=[PROOF]))
    assert row.execution == "failed"
    assert (row.outcome, row.exit_code) == ("failed", 7)
    assert row.cause is not None
    assert row.cause.cause in {"limit", "agent_failed"}
    if row.cause.cause == "limit":
        assert "disk_limit" in bench.findings(row)
    assert "survived" not in bench.said()


async def test_a_flood_of_output(bench: Bench) -> None:
    before = peak()
    body = f"{WORK}; timeout 60 head -c 1G /dev/zero | tr '\\0' x"
    row = await bench.run(bench.routine(body, limits={"output": "1MiB"}, expect=[PROOF]))
    assert (row.execution, row.outcome) == ("completed", "verified")
    assert "output_truncated" in bench.findings(row)
    assert len(bench.said()) <= MIB
    assert len(bench.events) < 200
    assert peak() - before < 128 * MIB


async def test_a_flood_of_short_lines_on_both_streams(bench: Bench) -> None:
    body = (
        f"{WORK}\n"
        "python3 - <<'X'\nimport os\nfor _ in range(200_000):\n    os.write(1, b'a\\n'); os.write(2, b'b\\n')\nX"
    )
    row = await bench.run(bench.routine(body, limits={"output": "2MiB"}, expect=[PROOF]))
    assert (row.execution, row.outcome) == ("completed", "verified")
    assert len(bench.events) < 600


async def test_a_flood_of_what_takes_the_most_room(bench: Bench) -> None:
    body = "import sys\nsys.stdout.write('\\U0001f600' * 500_000)\nsys.stderr.write('\\0' * 500_000)"
    row = await bench.run(bench.routine(f"```python\n{body}\n```"))
    assert row.execution == "completed"
    assert len(bench.said()) == 1_000_000


async def test_escapes_stay_data(bench: Bench) -> None:
    row = await bench.run(bench.routine(r"printf '\033[2J\033]0;x\007\xff\0\x9b31m'"))
    assert row.execution == "completed"
    assert bench.said().startswith("\x1b[2J")
    assert "\0" not in bench.said()


FILES = "import os\nos.makedirs('out/many')\nfor n in range({count}):\n    os.close(os.open(f'out/many/{{n}}', os.O_CREAT))\n"


async def many_files(bench: Bench, count: int) -> None:
    folder = bench.routine(
        f"```python id=files\n{FILES.format(count=count)}```", limits={"timeout": "5m", "disk": "20GiB"}, expect=[PROOF]
    )
    row = await bench.run(folder)
    assert (row.execution, row.outcome) == ("completed", "failed")
    assert "artifact_limit" in bench.findings(row)
    assert len(bench.events) < 2500


@pytest.mark.timeout(600)
async def test_200_000_files(bench: Bench) -> None:
    await many_files(bench, 200_000)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_million_files(bench: Bench) -> None:
    await many_files(bench, 1_000_000)


async def test_a_memory_bomb(bench: Bench) -> None:
    body = f"{WORK}; exec python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 24))'"
    row = await bench.run(bench.routine(body, limits={"memory": "256MiB"}, expect=[PROOF]))
    assert row.execution == "failed"
    assert row.cause is not None
    assert row.cause.cause in {"limit", "agent_failed"}
    assert row.outcome == "verified"  # the work was done before


async def test_a_fork_bomb(bench: Bench) -> None:
    body = f"{WORK}; b() {{ b | b & }}; b 2>/dev/null; sleep 600"
    row = await bench.run(bench.routine(body, limits={"timeout": "4s", "pids": 64}, expect=[PROOF]))
    assert row.execution in {"timed_out", "failed"}
    assert row.outcome == "verified"


@pytest.mark.parametrize("signal", ["KILL", "SEGV", "TERM"])
async def test_death_by_signal(bench: Bench, signal: str) -> None:
    row = await bench.run(bench.routine(f"kill -{signal} $$", expect=[PROOF]))
    assert (row.execution, row.outcome, row.exit_code) == ("failed", "failed", 7)
    assert row.cause is not None
    assert row.cause.cause == "agent_failed"


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
async def test_an_agent_that_kills_its_runner(bench: Bench, signal: str) -> None:
    row = await bench.run(bench.routine(f"kill -{signal} $PPID; sleep 600", limits={"timeout": "3s"}, expect=[PROOF]))
    assert row.execution == ("failed" if signal == "KILL" else "timed_out")
    assert (row.outcome, row.exit_code) == ("failed", 7)


WRECKS = {
    "its workspace": "cd /; rm -rf /workspace/* /workspace/.[a-z]*; rm -rf /workspace",
    "its workspace's rights": "chmod 000 /workspace",
    "its git folder": "rm -rf .git; ln -s /repo/app.git .git",
    "its git folder, by a link to nowhere": "rm -rf .git; ln -s /nowhere .git",
    "its report, by a folder": "mkdir -p .tickover/report.json",
    "its report, by a link": "mkdir .tickover; ln -s /etc/passwd .tickover/report.json",
    "its report, by a pipe": "mkdir .tickover; mkfifo .tickover/report.json",
    "its report, by a huge one": "mkdir .tickover; truncate -s 100G .tickover/report.json || truncate -s 1M .tickover/report.json",
    "its report, by depth": "mkdir .tickover; python3 -c 'print(\"[\" * 60000)' > .tickover/report.json",
    "everything it may": "rm -rf / --no-preserve-root 2>/dev/null || true",
    "folders, by depth": 'python3 -c \'import os\nfor _ in range(3000): os.mkdir("d"); os.chdir("d")\'',
}


@pytest.mark.parametrize("what", WRECKS)
async def test_an_agent_that_wrecks(bench: Bench, what: str) -> None:
    app = bench.repository({"a": "1"})
    row = await bench.run(
        bench.routine(
            f"{WRECKS[what]} && true",
            repositories={"app": {"url": app.url}},
            state=True,
            expect=[PROOF, {"git": {"repo": "app", "in": "subject", "ref": "proof"}}],
        )
    )
    assert row.execution in {"completed", "failed"}
    assert row.outcome == "failed", row.reason
    assert row.exit_code == (5 if row.execution == "completed" else 7)


ARTIFACTS = r"""
import os
os.makedirs("out", exist_ok=True)
for name in (b"new\nline", b"\x1b[2J", b"\xff\xfe", "\u202egpj.exe".encode(), b"-rf", b"a" * 255, b".hidden", b"quote'\"`$(id)", b" "):
    with open(b"out/" + name, "wb") as file:
        file.write(b"x")
os.symlink("/etc/shadow", "out/link")
os.mkfifo("out/pipe")
os.makedirs("out/locked"); open("out/locked/x", "w").close(); os.chmod("out/locked", 0)
with open("out/sparse", "wb") as file:
    file.truncate(3 << 30)
os.link("out/-rf", "out/hard")
"""


async def test_artifacts_with_hostile_names(bench: Bench) -> None:
    row = await bench.run(bench.routine(f"```python\n{ARTIFACTS}```"))
    assert row.execution == "completed", bench.said()
    stored = {each.path for each in row.artifacts}
    assert {"out/new\\x0aline", "out/\\x1b[2J", "out/\\xff\\xfe", "out/-rf", "out/.hidden", "out/hard"} <= stored
    assert not any("\x1b" in path or "\n" in path or "\u202e" in path for path in stored)
    refused = {each.path: each.reason for each in row.refused_artifacts}
    assert refused["out/link"] == "symbolic link"
    assert refused["out/pipe"] == "named pipe"
    assert "bytes" in refused["out/sparse"]
    assert bench.tickover.artifact(row.id, "out/\\x1b[2J") == b"x"


async def test_ten_thousand_artifacts(bench: Bench) -> None:
    body = "import os\nos.makedirs('out')\nfor n in range(10_000):\n    with open(f'out/{n:05}', 'w') as file: file.write(str(n))\n"
    row = await bench.run(bench.routine(f"```python\n{body}```"))
    assert row.execution == "completed"
    assert len(row.artifacts) == 2000
    assert "artifact_limit" in bench.findings(row)
    assert len(row.refused_artifacts) <= 100

"""A new build of an agent on recorded runs, end to end: packages of the test's own where the real CLI would be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.canary import CanaryNote, CaseResult
from tickover.core.errors import UsageError
from tickover.testing.agent_package import agent_package
from tickover.testing.localhost import configure, serving, url

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/bin/npm"), reason="npm is not at /usr/bin/npm")

INIT = {"type": "system", "subtype": "init", "tools": ["Bash"], "claude_code_version": "9.9.9", "model": "scripted"}
DONE = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "permission_denials": []}
SAID = {"type": "assistant", "message": {"content": [{"type": "text", "text": "Wrote 3."}]}}
WORKS = f"""\
if [ "$1" = --version ]; then echo VERSION; exit 0; fi
cat > turn.jsonl
echo '{json.dumps(INIT)}'
curl -q -sS "$SITE/count?by=$0" > count.txt
WORK
echo '{json.dumps(SAID)}'
echo '{json.dumps(DONE)}'
"""
EXPECT = [{"command": {"run": "grep -q ok /subject/count.txt"}}]


async def install(bench: Bench, version: str, work: str = "true") -> str:
    folder = bench.folder / version
    folder.mkdir()
    script = WORKS.replace("VERSION", version).replace("WORK", work)
    archive = agent_package(folder, "@anthropic-ai/claude-code", version, "claude", script)
    await bench.tickover.install(f"claude-code@{version}", [archive])
    return f"claude-code@{version}"


def routine(bench: Bench, site: str, **front: Any) -> Path:
    may = [{"request": {"to": f"POST {site}/post"}}]
    front = {"agent": "claude-code", "environment": {"env": {"SITE": site}}, "may": may, "expect": EXPECT, **front}
    folder = bench.routine("You count.\n```text\n3\n```\n", limits={"tokens": 100_000}, **front)
    bench.tickover.grant(folder, by="owner")
    return folder


async def canary(bench: Bench, build: str, name: str | None = None) -> CanaryNote:
    told: list[str] = []
    note = await bench.tickover.canary(build, name, 10, lambda case: told.append(case.run))
    assert told == [each.run for each in note.cases]
    return note


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_worse_build_is_held_back_and_blamed_only_for_what_is_its_own(bench: Bench) -> None:
    first = await install(bench, "9.0.0")
    async with serving() as double:
        configure(bench.tickover.home, [double])
        folder = routine(bench, url(double))
        recorded = await bench.run(folder, record=True)
        assert bench.results(recorded) == ["pass"], bench.said()
        asked = len(double.seen)
        [same] = (await canary(bench, first)).cases
        assert (same.result, same.drift, same.why, same.blind) == (CaseResult.SAME, 0, (), ())
        well = await canary(bench, await install(bench, "9.1.0", "true"))
        worse = await canary(bench, await install(bench, "9.2.0", "rm count.txt"))
        assert len(double.seen) == asked, "a replay asked the world"
        await bench.run(folder)
        assert bench.facts("agent_started")[0]["build"] == "claude-code@9.1.0"
        await bench.run(routine(bench, url(double), agent="claude-code@9.2.0"))
        assert bench.facts("agent_started")[0]["build"] == "claude-code@9.2.0"
    assert [note.exit_code for note in (well, worse)] == [0, 5]
    [case] = worse.cases
    assert [each for each in case.why if each.startswith("expect[0] passed and says fail: grep:")] == [*case.why]
    assert (case.then.passed, case.now.passed) == (1, 0)
    assert case.control, "it was held against the recorded build"
    assert [each.held for each in bench.tickover.builds()] == [True, False, False]
    assert {row.outcome for row in bench.tickover.run_rows() if row.replay_of} <= {"unverified", "failed"}


async def test_what_cannot_be_compared_is_not_called_well(bench: Bench) -> None:
    build = await install(bench, "9.0.0")
    nothing = await canary(bench, build)
    assert (nothing.exit_code, nothing.cases, nothing.held) == (6, (), False)
    for wrong in ("steps@1.0.0", "claude-code@latest"):
        with pytest.raises(UsageError):
            await canary(bench, wrong)
    async with serving() as double:
        configure(bench.tickover.home, [double])
        row = await bench.run(routine(bench, url(double)), record=True)
    assert row.cassette is not None
    [blob] = [each for each in bench.tickover.home.rglob(f"*{row.cassette.digest[8:]}") if each.is_file()]
    blob.unlink()
    blob.write_bytes(b"no cassette\n")
    [case] = (broken := await canary(bench, build)).cases
    assert (case.result, broken.exit_code) == (CaseResult.UNCLEAR, 6)

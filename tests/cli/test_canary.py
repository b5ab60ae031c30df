"""`agent canary` on a page and as JSON, and what `agent list` says of it. The comparison itself is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from tickover.core.canary import NOT_SEEN, CanaryNote, Case, CaseResult, Side
from tickover.testing.app import ScriptedTickover
from tickover.workspace.builds import Builds

WORSE = Case(
    run="run-1",
    routine="digest",
    recorded_with="codex@1.0.0",
    result=CaseResult.WORSE,
    replay="run-7",
    control="run-8",
    then=Side(execution="completed", exit=0, passed=2, checks=2, calls=4),
    now=Side(execution="failed", exit=1, passed=1, checks=2, findings=("tool_failed",), calls=3),
    drift=3,
    why=("expect[0] passed and says fail: \x1b[2Jno file",),
    blind=("not asked: expect[1]",),
)


class Told(ScriptedTickover):
    """Tells a note as the comparison of every build."""

    note = CanaryNote(build="codex@1.1.0", key="k", finished=True, cases=(WORSE,))

    async def canary(self, build: str, routine: str | None, most: int, told: Callable[[Case], None]) -> CanaryNote:
        self.asked = (build, routine, most)
        for case in self.note.cases:
            told(case)
        return self.note


@pytest.fixture
def told(home: Path) -> Told:
    return Told(home)


def test_a_page(told: Told, cli: Cli) -> None:
    shown = cli("agent", "canary", "codex@1.1.0", "--routine", "digest", "--runs", "3", obj=told.opening)
    assert shown.exit_code == 5, shown.output
    assert told.asked == ("codex@1.1.0", "digest", 3)
    assert told.opened_with_sandbox == [True]
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "✘ worse run-1 digest codex@1.0.0 2/2 → 1/2 0 → 1 4 → 3 3 0 → 1 completed → failed" in lines, shown.stdout
    assert "✘ worse  codex@1.1.0  on 1 recorded run" in shown.stdout
    assert "(replay run-7, control run-8; `tickover runs show ID`)" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "  │ not asked: expect[1]" in shown.stdout
    assert all(each in shown.stdout for each in NOT_SEEN)
    assert "codex@1.1.0 is used only where a routine pins it" in shown.stdout
    assert "✘ worse  run-1  digest" in shown.stderr


def test_json(told: Told, cli: Cli) -> None:
    shown = cli("agent", "canary", "codex@1.1.0", "--json", obj=told.opening)
    said = json.loads(shown.stdout)
    assert (said["build"], said["state"], said["held"], said["not_seen"]) == ("codex@1.1.0", "worse", True, [*NOT_SEEN])
    assert [(each["run"], each["result"], each["now"]["findings"]) for each in said["cases"]] == [
        ("run-1", "worse", ["tool_failed"])
    ]


def test_nothing_recorded(told: Told, cli: Cli) -> None:
    told.note = CanaryNote(build="codex@1.1.0", finished=True)
    shown = cli("agent", "canary", "codex@1.1.0", obj=told.opening)
    assert shown.exit_code == 6
    assert "▲ unclear  codex@1.1.0  on 0 recorded runs" in shown.stdout
    assert "`tickover run --record FOLDER` records a run" in shown.stdout


def test_the_list_says_which_build_is_used_and_why(home: Path, cli: Cli) -> None:
    (home / "agents").mkdir()
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        about = {"key": "k", "installed_at": 1.0, "bytes": 10}
        (home / "agents" / f"codex@{version}.json").write_text(json.dumps(about))
    well = WORSE.model_copy(update={"result": CaseResult.DIFFERS})
    canaries = Builds(home).canaries
    canaries.put(Told.note)
    canaries.put(CanaryNote(build="codex@1.2.0", key="k", finished=True, cases=(well,)))
    canaries.put(CanaryNote(build="codex@1.3.0"))
    shown = cli("agent", "list")
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines == [
        "AGENT VERSION DEFAULT SIZE INSTALLED CANARY",
        "codex 1.3.0 10 B 1970-01-01T00:00:01.000000Z not finished",
        "codex 1.2.0 yes 10 B 1970-01-01T00:00:01.000000Z none of 1 case worse",
        "codex 1.1.0 10 B 1970-01-01T00:00:01.000000Z 1 of 1 case worse",
        "codex 1.0.0 10 B 1970-01-01T00:00:01.000000Z not compared",
    ]
    said = {each["version"]: each for each in json.loads(cli("agent", "list", "--json").stdout)}
    assert [version for version, each in said.items() if each["default"]] == ["1.2.0"]
    assert (said["1.0.0"]["canary"], said["1.1.0"]["canary"]["held"]) == (None, True)

"""Which build a routine gets that pins none, and what a note of `agent canary` is worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tickover.core.canary import CanaryNote, Case, CaseResult
from tickover.core.errors import UsageError
from tickover.workspace.builds import Builds


def installed(data: Path, version: str, key: str = "k") -> Builds:
    (data / "agents").mkdir(exist_ok=True)
    note = {"key": key, "installed_at": 1.0, "bytes": 10}
    (data / "agents" / f"codex@{version}.json").write_text(json.dumps(note))
    return Builds(data)


def note(version: str, result: CaseResult, key: str = "k", *, finished: bool = True) -> CanaryNote:
    case = Case(run="r", routine="r", recorded_with="codex@1.0.0", result=result)
    return CanaryNote(build=f"codex@{version}", key=key, finished=finished, cases=(case,))


def test_a_build_that_is_worse_or_was_not_finished_is_only_had_by_its_version(tmp_path: Path) -> None:
    installed(tmp_path, "1.0.0")
    builds = installed(tmp_path, "1.1.0")
    assert builds.version("codex", None) == "1.1.0"
    builds.canaries.put(note("1.1.0", CaseResult.WORSE))
    assert builds.version("codex", None) == "1.0.0"
    assert builds.version("codex", "1.1.0") == "1.1.0"
    builds.canaries.put(note("1.1.0", CaseResult.DIFFERS))
    assert builds.version("codex", None) == "1.1.0"
    builds.canaries.put(CanaryNote(build="codex@1.1.0"))
    assert builds.version("codex", None) == "1.0.0"
    builds.canaries.put(note("1.0.0", CaseResult.WORSE))
    with pytest.raises(UsageError) as error:
        builds.version("codex", None)
    assert error.value.code == "agent.held"


def test_a_note_counts_for_the_packages_that_were_compared(tmp_path: Path) -> None:
    builds = installed(tmp_path, "1.0.0", key="other")
    builds.canaries.put(note("1.0.0", CaseResult.WORSE))
    assert [each.canary for each in builds.installed()] == [None]
    installed(tmp_path, "1.0.0")
    assert [each.held for each in builds.installed()] == [True]


def test_a_note_that_cannot_be_read_is_one_that_was_not_finished(tmp_path: Path) -> None:
    builds = installed(tmp_path, "1.0.0")
    builds.canaries.put(note("1.0.0", CaseResult.SAME))
    [path] = (tmp_path / "agents" / "canary").iterdir()
    path.write_text("{")
    assert [each.held for each in builds.installed()] == [True]

"""Whole runs through the public surface: a data folder of their own, a routine in three lines, a clean host after."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tickover.app import RunRequest, Tickover
from tickover.core.event import JournalEvent
from tickover.core.row import RunRow
from tickover.core.run import fold

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


@dataclass
class Repository:
    """A git repository that a routine works on."""

    path: Path

    @property
    def url(self) -> str:
        return self.path.as_uri()

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.path), *arguments]
        said = subprocess.run(command, env=GIT_ENVIRONMENT, capture_output=True, check=True, text=True)
        return said.stdout.strip()

    def commit(self, files: Mapping[str, str], message: str = "change") -> str:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@dataclass
class Bench:
    """A `Tickover` in a temporary home, and what a test needs around it."""

    tickover: Tickover
    folder: Path
    events: list[JournalEvent] = field(default_factory=list)
    """The journal of the last run, as an observer saw it."""
    _fresh: asyncio.Event = field(default_factory=asyncio.Event)

    def repository(self, files: Mapping[str, str], name: str = "app") -> Repository:
        path = self.folder / "repositories" / name
        path.mkdir(parents=True)
        made = Repository(path)
        made.git("init", "-q", "-b", "main")
        made.commit(files, "first")
        return made

    def routine(
        self, body: str = "", /, *, name: str = "work", checks: Mapping[str, str] | None = None, **front: Any
    ) -> Path:
        """Write a routine; a body without a fence is one bash block. Values are JSON, which is YAML."""
        path = self.folder / "routines" / name
        path.mkdir(parents=True, exist_ok=True)
        for file, text in (checks or {}).items():
            (path / "checks" / file).parent.mkdir(parents=True, exist_ok=True)
            (path / "checks" / file).write_text(text)
        if body and "```" not in body:
            body = f"```bash id=work\n{body}\n```\n"
        keys = {"name": name, "agent": "steps", **front}
        lines = "".join(
            f"{key.removesuffix('_')}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in keys.items()
        )
        (path / "ROUTINE.md").write_text(f"---\n{lines}---\n{body}")
        return path

    async def run(self, folder: Path, *, record: bool = False, **request: Any) -> RunRow:
        """Run a routine; its journal must fold to its row, and the run must have ended."""
        self.events = []
        row = await self.tickover.run(RunRequest(folder=str(folder), **request), self._observe, record=record)
        assert row.finished is not None
        assert fold(self.events) == row
        assert [event.seq for event in self.events] == list(range(1, len(self.events) + 1))
        return row

    def _observe(self, event: JournalEvent) -> None:
        self.events.append(event)
        self._fresh.set()

    async def until(self, type_: str, running: asyncio.Task[RunRow]) -> None:
        """Wait until the run under way has journalled a fact of this type."""
        async with asyncio.timeout(60):
            while not self.facts(type_):
                assert not running.done(), running.result()
                self._fresh.clear()
                await self._fresh.wait()

    def said(self) -> str:
        """What the agent wrote in the last run, both streams."""
        return "".join(event.data["text"] or "" for event in self.events if event.type == "agent_output")

    def facts(self, type_: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type == type_]

    @staticmethod
    def findings(row: RunRow) -> list[str]:
        """Return the codes of a run's findings."""
        return [str(each.finding.code) for each in row.findings]

    @staticmethod
    def results(row: RunRow) -> list[str]:
        """Return what the checks of `expect` said, in order."""
        return [str(check.result) for check in row.evidence if check.list == "expect"]


def left_behind(home: Path, runs: list[str]) -> list[str]:
    """Return what runs left on the host: processes, mounts, control groups, folders."""
    left = [f"sandbox {name}" for name in os.listdir(home / "sandboxes")]
    left += [f"staged {name}" for name in os.listdir(home / "stage")]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(home) in line]
    marks = [os.fsencode(str(home)), *(f"TICKOVER_RUN={run}".encode() for run in runs)]
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                seen = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
            except OSError:
                continue
            left += [f"process {process.name}: {seen[:200]!r}" for mark in marks if mark in seen]
    for top, folders, _ in os.walk("/sys/fs/cgroup"):
        left += [f"group {top}/{name}" for name in folders for run in runs if name.startswith(f"tickover-{run}")]
    return left


async def until_idle(tickover: Tickover) -> None:
    """Wait until no sandbox is left; the look around of a run that ended early may still be on its way."""
    assert tickover.backend is not None
    async with asyncio.timeout(60):
        while tickover.backend.current._sandboxes:
            await asyncio.to_thread(select.select, [], [], [], 0.02)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    home = tmp_path / "home"
    async with await Tickover.open(home) as tickover:
        yield Bench(tickover, tmp_path)
        runs = [row.id for row in tickover.run_rows(limit=1000)]
        await until_idle(tickover)
    assert left_behind(home, runs) == []

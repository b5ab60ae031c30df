"""Tickover as a user has it: the program, its exit code, and what `runs` says about a run afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Run:
    """One run that ended. `record` is `runs show`, `events` the journal."""

    id: str
    exit_code: int
    seconds: float
    said: str
    record: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def outcome(self) -> str:
        return str(self.record["outcome"])

    def of_type(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == name]


class Tickover:
    def __init__(self, program: str, folder: str) -> None:
        self.program, self.folder = program, folder

    def run(self, routine: str, *options: str) -> Run:
        begun = time.monotonic()
        done = self.call("run", routine, *options)
        seconds = time.monotonic() - begun
        said = done.stdout + done.stderr
        rows = self.read("runs", "list", "--json")
        if not rows:
            raise SystemExit(f"`tickover run {routine}` left no run (exit code {done.returncode}):\n{said}")
        run = str(rows[0]["id"])
        events = [json.loads(line) for line in self.call("runs", "logs", run, "--json").stdout.splitlines()]
        return Run(run, done.returncode, seconds, said, self.read("runs", "show", run, "--json"), events)

    def read(self, *args: str) -> Any:
        done = self.call(*args)
        if done.returncode:
            raise SystemExit(f"`tickover {' '.join(args)}` failed:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def call(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [self.program, *args]
        return subprocess.run(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

"""Tickover as a program has it: `tickover run --json`, its exit code, and every fact of the run it printed."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Run:
    """One run that ended. `record` is what `tickover runs show ID --json` says, `events` is its journal."""

    exit_code: int
    seconds: float
    record: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def outcome(self) -> str:
        return str(self.record["outcome"])

    @property
    def agent_exit(self) -> str:
        """The exit code of the agent's process: what a runner that believes it would show."""
        ended = [event["data"] for event in self.events if event["type"] == "agent_finished"]
        return str(ended[-1].get("exit")) if ended else "none: it never started"

    def why(self) -> str:
        """Say all that helps when a run did not end as it must."""
        phases = [event["data"]["phase"] for event in self.events if event["type"] == "phase_started"]
        cause, reason = self.record.get("cause"), self.record.get("reason")
        return f"execution {self.record['execution']}, cause {cause}, reason {reason}, phases {' '.join(phases)}"


class NoRunError(Exception):
    """Tickover refused before there was a run; the text is what it said."""


def run(program: str, folder: str, routine: str, *options: str) -> Run:
    """Run a routine to its end. Raises NoRunError if none came of it."""
    begun = time.monotonic()
    done = subprocess.run(
        [program, "run", routine, "--json", *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = time.monotonic() - begun
    try:
        said = [json.loads(line) for line in done.stdout.splitlines()]
        if said and said[-1]["type"] == "run":
            return Run(done.returncode, seconds, said[-1]["data"], said[:-1])
    except (ValueError, KeyError, TypeError):
        pass  # no journal: what it said instead is the message
    raise NoRunError(f"`tickover run {routine}` made no run, exit code {done.returncode}:\n{done.stdout}{done.stderr}")

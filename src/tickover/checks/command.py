"""The check `command`: a pinned program judges the work, in a sandbox where nothing is the agent's to change."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue

from tickover.checks.base import EVIDENCE_BYTES, Answer, Hands, PinnedRun, verdict
from tickover.core.check import CommandCheck
from tickover.core.evidence import CheckResult
from tickover.core.text import one_line

CANNOT_START = {126: "the command cannot be executed", 127: "the command was not found"}
"""What the shell says of a command that never ran: no judgement of it."""
BY_SIGNAL = range(129, 193)
"""What the shell says of a command that signal N killed: 128 + N."""


class Check:
    """Runs the command; its exit code is its word."""

    kind: ClassVar[str] = "command"

    async def evaluate(self, definition: CommandCheck, hands: Hands) -> Answer:
        timeout = int(definition.timeout)
        ran = await hands.run_pinned(definition.run, subject=definition.subject, timeout_s=timeout)
        detail: dict[str, JsonValue] = {"ended": ran.ended, "exit": ran.exit}
        evidence = transcript(ran)
        if ran.ended == "exited" and ran.exit is not None and not (ran.exit in CANNOT_START or ran.exit in BY_SIGNAL):
            return Answer(verdict(ran.exit == 0), last_word(ran), detail, evidence)
        return Answer(CheckResult.ERROR, _why(ran, definition.timeout), detail, evidence)


def last_word(ran: PinnedRun) -> str:
    """Return the last line that says something: of stderr where it failed and wrote there, else of stdout."""
    streams = (ran.stdout, ran.stderr) if ran.exit == 0 else (ran.stderr, ran.stdout)
    for stream in streams:
        for line in reversed(stream[-8192:].splitlines()):
            said = one_line(line.decode("utf-8", "replace"))
            if any(letter.isalnum() for letter in said):
                return said
    return f"exit code {ran.exit}"


def transcript(ran: PinnedRun) -> bytes:
    """Return both streams as one body, the ends of both if they are long."""
    half = EVIDENCE_BYTES // 2 - 64
    parts = ((b"stdout", ran.stdout[-half:]), (b"stderr", ran.stderr[-half:]))
    return b"".join(b"--- %s\n%s\n" % (name, data.removesuffix(b"\n")) for name, data in parts if data)


def _why(ran: PinnedRun, timeout: object) -> str:
    match ran.ended:
        case "timed_out":
            return f"it did not end within {timeout}"
        case "signalled":
            return f"it was killed: {ran.message or 'a signal'}"
        case "not_started":
            return f"it could not be started: {ran.message or 'no reason is known'}"
        case "exited":
            code = ran.exit or 0
            why = f"it was killed by signal {code - 128}" if code in BY_SIGNAL else "it ended without an exit code"
            return f"{CANNOT_START.get(code, why)}: {last_word(ran)}"

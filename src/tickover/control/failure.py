"""How an attempt ends early: a typed end that the main path journals, and what each error becomes."""

from __future__ import annotations

from typing import Final

from tickover.core.cause import Cause, CauseCode
from tickover.core.errors import TickoverError
from tickover.core.grant import NotGrantedError
from tickover.core.status import Execution, Phase
from tickover.core.text import printable
from tickover.sandbox.base import SandboxRefused


class Ended(Exception):  # noqa: N818 - not an error of ours: the attempt has ended
    """The attempt is over with this execution and cause."""

    def __init__(self, execution: Execution, code: CauseCode, hint: str = "") -> None:
        super().__init__(hint)
        self.execution = execution
        self.code = code
        self.hint = hint

    def cause(self, phase: Phase | None) -> Cause:
        return Cause(phase, self.code, self.hint)


_LINES: Final = 40
_LINE: Final = 500  # characters
_BY_PREFIX: dict[str, CauseCode] = {
    "repository": CauseCode.CLONE_FAILED,
    "checkout": CauseCode.CLONE_FAILED,
    "setup": CauseCode.SETUP_FAILED,
    "layer": CauseCode.SETUP_FAILED,
    "credential": CauseCode.PREFLIGHT,
    "connector": CauseCode.PREFLIGHT,
    "secret": CauseCode.PREFLIGHT,
    "secrets": CauseCode.PREFLIGHT,
    "input": CauseCode.BAD_INPUT,
    "template": CauseCode.BAD_INPUT,
    "skill": CauseCode.PREFLIGHT,
    "agent": CauseCode.PREFLIGHT,
    "blocks": CauseCode.PREFLIGHT,
    "tree": CauseCode.PREFLIGHT,
    "network": CauseCode.PREFLIGHT,
    "host": CauseCode.PREFLIGHT,
    "receipt": CauseCode.PREFLIGHT,
    "target": CauseCode.PREFLIGHT,
    "config": CauseCode.PREFLIGHT,
}


def ended_by(error: TickoverError | OSError) -> Ended:
    """Say how an attempt ends that met this error before its agent started."""
    if isinstance(error, OSError):
        return Ended(Execution.FAILED, CauseCode.INFRASTRUCTURE, told(error))
    code = _BY_PREFIX.get(error.code.partition(".")[0], CauseCode.INFRASTRUCTURE)
    timed_out = error.code.endswith((".timeout", ".timed_out"))
    execution = Execution.TIMED_OUT if timed_out else Execution.FAILED
    return Ended(execution, code, told(error))


def told(error: Exception) -> str:
    """Return what an error says as a cause keeps it: printable, no line and no text without end."""
    text = str(error) if isinstance(error, TickoverError | OSError) else repr(error)
    lines = [line if len(line) <= _LINE else f"{line[:_LINE]}…" for line in printable(text).split("\n")]
    if len(lines) > _LINES:
        lines[_LINES // 2 : -_LINES // 2] = ["…"]
    return "\n".join(lines)


class Skipped(Exception):  # noqa: N818 - a decision, not an error
    """`only_if` said that there is nothing to run for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def refusal(error: TickoverError | OSError, phase: Phase | None) -> Cause | None:
    """Return the cause where the error means that the run must not start at all; None where it is a failure."""
    if isinstance(error, SandboxRefused):
        return Cause(phase, CauseCode.ISOLATION, told(error))
    if isinstance(error, NotGrantedError):
        return Cause(phase, CauseCode.NOT_GRANTED, told(error))
    return None

"""The two facts every run carries, never mixed: what happened to the process, and what was proved."""

from __future__ import annotations

from enum import StrEnum


class Execution(StrEnum):
    """What happened to the process. `core/run.py` has the transitions."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    SKIPPED = "skipped"
    MISSED = "missed"
    LOST = "lost"


LIVE = (Execution.QUEUED, Execution.PREPARING, Execution.RUNNING, Execution.VERIFYING)
"""An attempt is ahead or under way."""
ENDED = (
    Execution.COMPLETED,
    Execution.FAILED,
    Execution.TIMED_OUT,
    Execution.CANCELLED,
    Execution.LOST,
)
"""An attempt is over."""
NEVER_RAN = (Execution.REFUSED, Execution.SKIPPED, Execution.MISSED)
"""There is no attempt worth the name: the agent was not to start."""


class Outcome(StrEnum):
    """What was proved about the work. `core/verdict.py` decides it; colour follows it."""

    VERIFIED = "verified"
    FAILED = "failed"
    UNVERIFIED = "unverified"
    NOOP = "noop"
    PENDING = "pending"
    NONE = "none"


class Phase(StrEnum):
    """A timed stretch of an attempt, in the order in which a run walks through them."""

    PREFLIGHT = "preflight"
    LAYER = "layer"
    CLONE = "clone"
    SANDBOX = "sandbox"
    BASELINE = "baseline"
    AGENT = "agent"
    VERIFY = "verify"
    ARTIFACTS = "artifacts"
    STATE = "state"
    CLEANUP = "cleanup"


class AgentStatus(StrEnum):
    """How the agent's process ended. A fact of execution: it proves nothing about the work."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    KILLED = "killed"


class ClaimStatus(StrEnum):
    """What the agent says of its own work."""

    DONE = "done"
    NOOP = "noop"
    FAILED = "failed"


def exit_code(execution: Execution, outcome: Outcome) -> int:
    """Return the CLI's exit code of a finished run: first what was proved, then what became of the process."""
    if outcome in {Outcome.VERIFIED, Outcome.NOOP}:
        return 0
    if outcome is Outcome.PENDING:
        return 8
    if execution is not Execution.COMPLETED or outcome is Outcome.NONE:
        return 7
    return 5 if outcome is Outcome.FAILED else 6

"""Why an attempt did not complete, or a run did not start: a closed list, each cause with its sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tickover.core.status import Phase


class CauseCode(StrEnum):
    """The closed list. `core/retry.py` says which of them may be tried again, and under which name."""

    INFRASTRUCTURE = "infrastructure"
    LOST = "lost"
    CLONE_FAILED = "clone_failed"
    SETUP_FAILED = "setup_failed"
    MODEL_OVERLOADED = "model_overloaded"
    MODEL_AUTH = "model_auth"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    AGENT_FAILED = "agent_failed"
    LIMIT = "limit"
    BUDGET = "budget"
    CONDITION_FAILED = "condition_failed"
    CANCELLED = "cancelled"
    PREFLIGHT = "preflight"
    ISOLATION = "isolation"
    NOT_YET = "not_yet"
    NOT_GRANTED = "not_granted"
    CAP = "cap"
    OVERLAP = "overlap"
    PAUSED = "paused"
    UNPROMOTED = "unpromoted"
    BAD_INPUT = "bad_input"
    INTERNAL = "internal"


CAUSES: dict[CauseCode, str] = {
    CauseCode.INFRASTRUCTURE: "the machine could not do its part: no sandbox, no disk, no store",
    CauseCode.LOST: "the process that drove the attempt went away",
    CauseCode.CLONE_FAILED: "a repository could not be fetched or checked out",
    CauseCode.SETUP_FAILED: "the environment's setup script failed, so the agent was not started",
    CauseCode.MODEL_OVERLOADED: "the model's provider answered that it is overloaded",
    CauseCode.MODEL_AUTH: "the model's provider does not accept the credential, or what it may do",
    CauseCode.TIMEOUT: "the attempt ran longer than `limits.timeout`",
    CauseCode.STALLED: "the agent gave no sign of life for as long as `watch` allows",
    CauseCode.AGENT_FAILED: "the agent ended with an error",
    CauseCode.LIMIT: "a limit of memory, processes, disk or output ended the agent",
    CauseCode.BUDGET: "the budget for tokens or cost was spent",
    CauseCode.CONDITION_FAILED: "`only_if` ended with neither 0 (run) nor 10 (skip)",
    CauseCode.CANCELLED: "a person or a newer run cancelled it",
    CauseCode.PREFLIGHT: "something that the routine needs is not there",
    CauseCode.ISOLATION: "this machine's isolation is weaker than the routine asks for",
    CauseCode.NOT_YET: "the routine uses a key whose behaviour this build does not have",
    CauseCode.NOT_GRANTED: "a permission, host or credential has not been granted",
    CauseCode.CAP: "a cap on runs or cost was reached",
    CauseCode.OVERLAP: "another run of the routine was under way",
    CauseCode.PAUSED: "the routine is paused",
    CauseCode.UNPROMOTED: "this version of the routine has not been promoted",
    CauseCode.BAD_INPUT: "an input is missing or of the wrong type",
    CauseCode.INTERNAL: "an error of Tickover itself",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """A typed reason: the phase it happened in (None: before the first), the cause, what to do about it."""

    phase: Phase | None
    cause: CauseCode
    hint: str = ""

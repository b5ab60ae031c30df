"""Findings come unasked: a closed list of what a run reports besides its checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pydantic import JsonValue


class FindingCode(StrEnum):
    """The closed list; `FINDINGS` has each one's sentence and whether it fails the run by itself."""

    DENIED_TOOL = "denied_tool"
    TOOL_FAILED = "tool_failed"
    CONNECTOR_FAILED = "connector_failed"
    CONNECTOR_WITHOUT_TOOLS = "connector_without_tools"
    REQUIRED_MISSING = "required_missing"
    HOST_DENIED = "host_denied"
    REQUEST_DENIED = "request_denied"
    NO_RESULT_EVENT = "no_result_event"
    BACKGROUND_WORK_CUT_OFF = "background_work_cut_off"
    BUDGET_STOP = "budget_stop"
    UNPROVED_WRITE = "unproved_write"
    UNKNOWN_WRITE = "unknown_write"
    RECEIPTS_BROKEN = "receipts_broken"
    LATE = "late"
    DUPLICATE = "duplicate"
    RECOVERED = "recovered"
    REPAIRED = "repaired"
    STEP_FAILED = "step_failed"
    AGENT_ENDED_BADLY = "agent_ended_badly"
    OUTPUT_TRUNCATED = "output_truncated"
    MEMORY_LIMIT = "memory_limit"
    PIDS_LIMIT = "pids_limit"
    DISK_LIMIT = "disk_limit"
    ARTIFACT_REFUSED = "artifact_refused"
    ARTIFACT_LIMIT = "artifact_limit"
    REPORT_MALFORMED = "report_malformed"
    REPORT_STALE = "report_stale"
    STATE_DISCARDED = "state_discarded"
    STATE_CONFLICT = "state_conflict"
    SUBJECT_GIT_REFUSED = "subject_git_refused"
    CLEANUP_INCOMPLETE = "cleanup_incomplete"


class FindingKind(NamedTuple):
    """What a code means, and whether it is required (fails the run) where nobody says otherwise."""

    says: str
    required: bool = False


FINDINGS: dict[FindingCode, FindingKind] = {
    FindingCode.DENIED_TOOL: FindingKind("the agent was denied a tool"),
    FindingCode.TOOL_FAILED: FindingKind("a tool call failed"),
    FindingCode.CONNECTOR_FAILED: FindingKind("a connector failed"),
    FindingCode.CONNECTOR_WITHOUT_TOOLS: FindingKind("a connector offered no tools"),
    FindingCode.REQUIRED_MISSING: FindingKind("something the routine requires was denied or missing", True),
    FindingCode.HOST_DENIED: FindingKind("a connection to a host outside the allowlist was denied"),
    FindingCode.REQUEST_DENIED: FindingKind("a request to an allowed host was refused"),
    FindingCode.NO_RESULT_EVENT: FindingKind("the agent ended without a result event"),
    FindingCode.BACKGROUND_WORK_CUT_OFF: FindingKind("work left in the background was cut off"),
    FindingCode.BUDGET_STOP: FindingKind("the budget stopped the agent"),
    FindingCode.UNPROVED_WRITE: FindingKind("a permission to write has no check that would prove it"),
    FindingCode.UNKNOWN_WRITE: FindingKind("a write left and was never answered"),
    FindingCode.RECEIPTS_BROKEN: FindingKind("the chain of receipts does not verify", True),
    FindingCode.LATE: FindingKind("the run started later than planned"),
    FindingCode.DUPLICATE: FindingKind("the same event, or the same slot, had started a run before"),
    FindingCode.RECOVERED: FindingKind("the run was taken up again after a crash"),
    FindingCode.REPAIRED: FindingKind("a check passed only after the agent was told that it does not"),
    FindingCode.STEP_FAILED: FindingKind("a step ended with an error"),
    FindingCode.AGENT_ENDED_BADLY: FindingKind("the agent did not end by itself with success"),
    FindingCode.OUTPUT_TRUNCATED: FindingKind("the agent wrote more output than is kept"),
    FindingCode.MEMORY_LIMIT: FindingKind("the memory limit was reached"),
    FindingCode.PIDS_LIMIT: FindingKind("the limit of processes was reached"),
    FindingCode.DISK_LIMIT: FindingKind("the disk limit was reached"),
    FindingCode.ARTIFACT_REFUSED: FindingKind("an artifact was not taken"),
    FindingCode.ARTIFACT_LIMIT: FindingKind("there were more or larger artifacts than are taken"),
    FindingCode.REPORT_MALFORMED: FindingKind("the agent's report could not be read"),
    FindingCode.REPORT_STALE: FindingKind("the report was not written during this run, so it does not count"),
    FindingCode.STATE_DISCARDED: FindingKind("what the agent wrote to `state/` was not kept"),
    FindingCode.STATE_CONFLICT: FindingKind("`state/` had changed under the run"),
    FindingCode.SUBJECT_GIT_REFUSED: FindingKind("the agent's git objects did not pass fsck"),
    FindingCode.CLEANUP_INCOMPLETE: FindingKind("something of the run was left on the machine"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one run. A `required` one fails it."""

    code: FindingCode
    message: str
    required: bool
    detail: dict[str, JsonValue] = field(default_factory=dict)


def found(
    code: FindingCode,
    message: str = "",
    *,
    required: bool | None = None,
    detail: dict[str, JsonValue] | None = None,
) -> Finding:
    """Make a finding with its code's own sentence and severity where none is given."""
    kind = FINDINGS[code]
    return Finding(
        code=code,
        message=message or kind.says,
        required=kind.required if required is None else required,
        detail=detail or {},
    )

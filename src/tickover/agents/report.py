"""The agent's own word on its work: the file `.tickover/report.json`. It counts only as a claim."""

from __future__ import annotations

from tickover.core.document import read_json
from tickover.core.event import FindingReported, ReportClaimed
from tickover.core.finding import FindingCode, found
from tickover.core.status import ClaimStatus

REPORT_FILE = ".tickover/report.json"
LONGEST_REPORT = 64 << 10
_LONGEST_SUMMARY = 2000


def read_report(data: bytes) -> ReportClaimed | FindingReported:
    """Read a report written during this run (the caller knows that); a malformed one is a finding."""
    try:
        if len(data) > LONGEST_REPORT:
            raise ValueError(f"it is longer than {LONGEST_REPORT} bytes")
        report = read_json(data)
        if not isinstance(report, dict):
            raise TypeError("it is no JSON object")
        summary = report.get("summary", "")
        if not isinstance(summary, str):
            raise TypeError("`summary` is no text")
        return ReportClaimed(status=ClaimStatus(str(report.get("status"))), summary=summary[:_LONGEST_SUMMARY])
    except (ValueError, TypeError) as error:
        return FindingReported.of(found(FindingCode.REPORT_MALFORMED, detail={"why": str(error)[:200]}))
